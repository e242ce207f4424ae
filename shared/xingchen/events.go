package xingchen

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"xinghe/shared/sse"
	"xinghe/shared/upstream"
)

// Open makes a call that streams and returns once upstream has answered with a stream, else
// an error as [Client.Do] does. Frames come as upstream sends them; where it sends an error,
// Next returns an [*Error]. The context bounds the whole stream. The caller must Close what
// it returns.
func (c *Client) Open(ctx context.Context, call *Call) (*upstream.Stream, error) {
	req, err := c.request(ctx, call, true)
	if err != nil {
		return nil, err
	}
	inspect := c.frames
	if call.Route.Bare {
		inspect = c.bareFrames
	}
	refused := func(status int, header http.Header, body []byte) error { return c.newError(status, header, body) }
	return c.service.Open(req, call.op(), refused, inspect)
}

// inspect looks for errors and for the last frame.
func (c *Client) inspect(header http.Header, event sse.Event) (upstream.Verdict, error) {
	if verdict, err := c.inspectType(header, event); verdict == upstream.Skip {
		return verdict, err
	}
	if verdict, ok := glance(event.Data); ok {
		return verdict, nil
	}
	if bytes.Contains(event.Data, []byte(`"errorCode"`)) || bytes.Contains(event.Data, []byte(`"success"`)) {
		var r refusal
		if json.Unmarshal(event.Data, &r) == nil && r.failed() {
			return upstream.Skip, c.frameError(header, event.Data)
		}
	}
	if len(event.Data) == 0 {
		return upstream.Skip, nil
	}
	return inspectEnd(event.Data)
}

// glance settles what nearly every frame is: one that begins with its choices, ends in the
// documented way, stop being the last of its fields, and holds no field of an error. The
// capital is rare in frames, which makes the search for errorCode and httpStatusCode one for
// a single byte; the search for success is dearer, and left to the frame that ends the stream.
func glance(data []byte) (upstream.Verdict, bool) {
	head := data[:min(len(data), 128)] // a request id may come before
	switch {
	case !bytes.Contains(head, []byte(`"choices":`)), bytes.Contains(data, []byte(`Code"`)):
		return upstream.Skip, false
	case bytes.HasSuffix(data, []byte(`,"stop":false}`)):
		return upstream.Keep, true
	case bytes.HasSuffix(data, []byte(`,"stop":true}`)):
		return upstream.Last, !bytes.Contains(data, []byte(`"success"`))
	}
	return upstream.Skip, false
}

// inspectBare does the same for the model interface, whose streams may end after the frame
// with the finish reason, and do after [DONE].
func (c *Client) inspectBare(header http.Header, event sse.Event) (upstream.Verdict, error) {
	verdict, err := c.inspectType(header, event)
	switch {
	case verdict == upstream.Skip:
		return verdict, err
	case string(event.Data) == "[DONE]":
		return upstream.Last, nil
	case bytes.Contains(event.Data, []byte(`"finish_reason":"`)):
		return upstream.MayEnd, nil
	}
	return upstream.Keep, nil
}

func (c *Client) inspectType(header http.Header, event sse.Event) (upstream.Verdict, error) {
	switch event.Type {
	case "error":
		return upstream.Skip, c.frameError(header, event.Data)
	case "", "message", "success", "stop", "length":
		return upstream.Keep, nil
	}
	return upstream.Skip, nil
}

// inspectEnd looks for stop:true at the top of a frame. Inside a text the quotation marks
// would be escaped, so only a frame that seems to be the last is decoded, and one whose
// spelling is not the usual. Half a frame is the end of a stream that was cut.
func inspectEnd(data []byte) (upstream.Verdict, error) {
	if !bytes.Contains(data, []byte(`"stop":true`)) && bytes.Contains(data, []byte(`"stop":false`)) && closed(data) {
		return upstream.Keep, nil
	}
	var frame struct {
		Stop bool `json:"stop"`
	}
	if err := json.Unmarshal(data, &frame); err != nil {
		if err = upstream.Malformed(name, "frame", data, err); errors.Is(err, upstream.ErrTruncated) {
			return upstream.Skip, err
		}
		return upstream.Keep, nil // what else it may be passes as it came
	}
	if frame.Stop {
		return upstream.Last, nil
	}
	return upstream.Keep, nil
}

// closed reports whether a document that begins like a JSON object ends like one.
func closed(data []byte) bool {
	data = bytes.TrimSpace(data)
	return !bytes.HasPrefix(data, []byte{'{'}) || bytes.HasSuffix(data, []byte{'}'})
}

func (c *Client) frameError(header http.Header, data []byte) *Error {
	e := c.newError(http.StatusOK, http.Header{}, data)
	var r refusal
	if json.Unmarshal(data, &r) == nil && r.HTTPStatusCode != 0 {
		e.HTTPStatus = int(r.HTTPStatusCode)
	}
	if e.RequestID == "" {
		e.RequestID = header.Get("X-Request-Id")
	}
	return e
}
