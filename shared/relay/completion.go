package relay

import (
	"net/http"
	"time"

	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
)

// Completion says how an answer is told to OpenAI's clients: as the object of POST
// /v1/chat/completions or, streamed, as its chunks.
type Completion struct {
	// Model is what the client calls whom it talks to.
	Model string
	// Created is when the request came.
	Created time.Time
	// Stream asks for chunks: one with the role, those with the text, one with the finish
	// reason, then [DONE].
	Stream bool
	// Usage asks for one more chunk, without choices, that holds the usage.
	Usage bool
}

// Reply is an answer that is whole.
type Reply struct {
	// MessageID is upstream's id of the answer, by which it can be rated.
	MessageID string
	// SessionID is what a robot wants to be given with the next question; empty for none.
	SessionID string
	// Choices are the answers asked for, at least one. A stream tells the first.
	Choices []ReplyChoice
	Usage   jobs.ChatUsage
}

// ReplyChoice is one of the answers asked for. Reason is why it ended: stop or length.
type ReplyChoice struct{ Text, Reason string }

// CodeRewritten is the code of a stream that has to end because upstream took back what it
// had said, which chunks cannot tell.
const CodeRewritten = "upstream_rewritten"

// fingerprint stands where OpenAI names the state of its machinery, of which upstream tells
// nothing.
const fingerprint = "fp_xinghe"

// completionUsage is the usage in OpenAI's words.
type completionUsage struct {
	PromptTokens     int64 `json:"prompt_tokens"`
	CompletionTokens int64 `json:"completion_tokens"`
	TotalTokens      int64 `json:"total_tokens"`
	// Incomplete is a word of ours: upstream has told none, or not all.
	Incomplete bool `json:"incomplete,omitempty"`
}

func newUsage(u jobs.ChatUsage) completionUsage {
	return completionUsage{u.InputTokens, u.OutputTokens, u.InputTokens + u.OutputTokens, u.Incomplete}
}

// completionID makes the answer's id from upstream's, or else from the request's.
func completionID(r *http.Request, messageID string) string {
	if messageID == "" {
		messageID = httpapi.CallFrom(r.Context()).ID
	}
	return "chatcmpl-" + messageID
}

// finishReason is upstream's reason in OpenAI's words.
func finishReason(reason string) string {
	if reason == "length" {
		return reason
	}
	return "stop"
}

// Tell answers the request in hand with a reply, whole or in chunks.
func (c Completion) Tell(w http.ResponseWriter, r *http.Request, reply Reply) error {
	if c.Stream {
		chunks := newChunks(newOutput(w, 0), c)
		return chunks.end(r, chunks.all(r, reply))
	}
	if reply.SessionID != "" {
		w.Header().Set(sessionHeader, reply.SessionID)
	}
	return httpapi.WriteJSON(w, http.StatusOK, c.object(r, reply))
}

// sessionHeader is where the session of an answer stands beside its body.
const sessionHeader = "X-Session-Id"

// completionObject is the object of an answer that is whole.
type completionObject struct {
	ID          string             `json:"id"`
	Object      string             `json:"object"`
	Created     int64              `json:"created"`
	Model       string             `json:"model"`
	Fingerprint string             `json:"system_fingerprint"`
	SessionID   string             `json:"session_id,omitempty"`
	Choices     []completionChoice `json:"choices"`
	Usage       completionUsage    `json:"usage"`
}

type completionChoice struct {
	Index        int               `json:"index"`
	Message      completionMessage `json:"message"`
	Logprobs     *struct{}         `json:"logprobs"`
	FinishReason string            `json:"finish_reason"`
}

type completionMessage struct {
	Role    string  `json:"role"`
	Content string  `json:"content"`
	Refusal *string `json:"refusal"`
}

func (c Completion) object(r *http.Request, reply Reply) completionObject {
	object := completionObject{
		ID: completionID(r, reply.MessageID), Object: "chat.completion", Created: c.Created.Unix(), Model: c.Model,
		Fingerprint: fingerprint, SessionID: reply.SessionID, Usage: newUsage(reply.Usage),
		Choices: make([]completionChoice, len(reply.Choices)),
	}
	for i, choice := range reply.Choices {
		object.Choices[i] = completionChoice{
			Index: i, Message: completionMessage{Role: "assistant", Content: choice.Text}, FinishReason: finishReason(choice.Reason),
		}
	}
	return object
}
