package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
)

// chunks tell an answer as OpenAI streams it. What does not change from chunk to chunk is
// encoded once; texts are written as they stand in upstream's frames.
type chunks struct {
	Completion
	out  *output
	head []byte // of each chunk, up to its choices; nil before the first
	last []byte // head of the one that holds the usage
}

func newChunks(out *output, c Completion) *chunks { return &chunks{Completion: c, out: out} }

// Parts of chunks. OpenAI puts a space behind the colon of a field, and there are clients
// that insist on it.
var (
	chunkData   = []byte("data: ")
	chunkRole   = []byte(`[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}]}`)
	chunkText   = []byte(`[{"index":0,"delta":{"content":`)
	chunkGoesOn = []byte(`},"logprobs":null,"finish_reason":null}]}` + "\n\n")
	chunkFinish = []byte(`[{"index":0,"delta":{},"logprobs":null,"finish_reason":"`)
	chunkEnds   = []byte(`"}]}` + "\n\n")
	chunkUsage  = []byte(`[],"usage":`)
	chunkBrace  = []byte("}\n\n")
	chunkBlank  = []byte("\n\n")
	chunkDone   = []byte("data: [DONE]\n\n")
)

// begin tells the role, once. A session goes into a header too, unless a heartbeat has sent
// those already.
func (c *chunks) begin(r *http.Request, messageID, sessionID string) error {
	if c.head != nil {
		return nil
	}
	if sessionID != "" {
		c.out.setHeader(sessionHeader, sessionID)
	}
	head, err := json.Marshal(struct {
		ID          string `json:"id"`
		Object      string `json:"object"`
		Created     int64  `json:"created"`
		Model       string `json:"model"`
		Fingerprint string `json:"system_fingerprint"`
		SessionID   string `json:"session_id,omitempty"`
	}{completionID(r, messageID), "chat.completion.chunk", c.Created.Unix(), c.Model, fingerprint, sessionID})
	if err != nil {
		return fmt.Errorf("encode chunk: %w", err)
	}
	c.last = fmt.Appendf(nil, `data: %s,"choices":`, head[:len(head)-1])
	c.head = c.last
	if c.Usage {
		c.head = fmt.Appendf(nil, `data: %s,"usage":null,"choices":`, head[:len(head)-1])
	}
	c.out.addRaw(c.head, chunkRole, chunkBlank)
	return nil
}

// say tells a text, which is a JSON string with its quotation marks.
func (c *chunks) say(text []byte) {
	if len(text) > len(`""`) {
		c.out.addRaw(c.head, chunkText, text, chunkGoesOn)
	}
}

// sayText tells a text that is to be encoded first.
func (c *chunks) sayText(text string) error {
	encoded, err := encodeText(text)
	if err != nil {
		return fmt.Errorf("encode chunk: %w", err)
	}
	c.say(encoded)
	return nil
}

// finish tells why the answer has ended, its usage if that is wanted, and that this is all.
func (c *chunks) finish(reason string, usage jobs.ChatUsage) error {
	c.out.addRaw(c.head, chunkFinish, []byte(finishReason(reason)), chunkEnds)
	if c.Usage {
		encoded, err := json.Marshal(newUsage(usage))
		if err != nil {
			return fmt.Errorf("encode chunk: %w", err)
		}
		c.out.addRaw(c.last, chunkUsage, encoded, chunkBrace)
	}
	c.out.addRaw(chunkDone)
	return nil
}

// all tells an answer that is whole. Only the first choice can be streamed.
func (c *chunks) all(r *http.Request, reply Reply) error {
	choice := reply.Choices[0]
	return errors.Join(c.begin(r, reply.MessageID, reply.SessionID), c.sayText(choice.Text), c.finish(choice.Reason, reply.Usage))
}

// end sends what is left and tells what went wrong, if anything did: by the error itself
// where the client has got nothing yet, else in the stream, which then lacks its [DONE]. No
// heartbeat may come any more.
func (c *chunks) end(r *http.Request, err error) error {
	switch {
	case err == nil:
		return c.out.send()
	case errors.Is(err, context.Canceled), errors.Is(err, errLeft), !c.out.begun():
		return err
	}
	body, encodeErr := json.Marshal(httpapi.OpenAIBody(httpapi.CallFrom(r.Context()).ID, httpapi.AsError(err)))
	if encodeErr == nil {
		c.out.addRaw(chunkData, body, chunkBlank)
		_ = c.out.send() // the client may be gone; the log says what happened
	}
	return fmt.Errorf("%w: %w", httpapi.ErrStreamBegun, err)
}
