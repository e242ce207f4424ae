package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"unicode/utf8"
)

// MaxBody is the limit of a request's body on every function route, in bytes: the smaller
// of what Function Compute and Lambda let through.
const MaxBody = 6 << 20

// ReadBody reads the request's body whole, up to [MaxBody] and within Config.BodyTimeout.
func ReadBody(r *http.Request) ([]byte, error) {
	call := CallFrom(r.Context())
	call.readWithin(call.bodyTimeout) // and no longer where it is refused: net/http reads on
	if r.ContentLength > MaxBody {
		drain(r)
		return nil, tooLarge()
	}
	body, err := readAll(r)
	if len(body) > MaxBody {
		drain(r)
		return nil, tooLarge()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, &Error{Status: http.StatusBadRequest, Code: CodeInvalidJSON, Detail: fmt.Sprintf("the body did not arrive within %s", call.bodyTimeout), Err: err}
	}
	if err != nil {
		return nil, &Error{Status: http.StatusBadRequest, Code: CodeInvalidJSON, Detail: "the body could not be read", Err: err}
	}
	call.readWithin(0)
	return body, nil
}

// readAll takes the body in, up to one byte beyond [MaxBody].
func readAll(r *http.Request) ([]byte, error) {
	if r.ContentLength <= 0 { // not told
		return io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
	}
	body := make([]byte, r.ContentLength)
	_, err := io.ReadFull(r.Body, body)
	return body, err
}

// drain takes in the rest if it may come to an end soon, so that a client that only listens
// after it has sent all gets to read the refusal rather than a reset. One that asks before it
// sends has its answer.
func drain(r *http.Request) {
	const bound = 2 * MaxBody
	if r.ContentLength <= bound && r.Header.Get("Expect") == "" {
		_, _ = io.CopyN(io.Discard, r.Body, bound)
	}
}

func tooLarge() error {
	return &Error{Status: http.StatusRequestEntityTooLarge, Code: CodeBodyTooLarge, Detail: fmt.Sprintf("the body is longer than %d bytes", MaxBody)}
}

// DecodeStrict decodes a body of one of our own routes: one JSON document in UTF-8, no field
// that is not known or stands more than once. The [*Error] names each fault.
func DecodeStrict(body []byte, into any) error { return decode(body, into, true) }

// DecodeLenient decodes a body in upstream's format, whose unknown fields pass.
func DecodeLenient(body []byte, into any) error {
	if utf8.Valid(body) && json.Unmarshal(body, into) == nil {
		return Invalid(repeats(body)...)
	}
	return decode(body, into, false) // which knows why not
}

// DecodeField is DecodeLenient for what a field holds of a body that has been decoded.
func DecodeField(field string, document json.RawMessage, into any) error {
	err := json.Unmarshal(document, into)
	if err == nil {
		return nil
	}
	return misfit(document, into, field, false, err)
}

func decode(body []byte, into any, strict bool) error {
	if at := invalidUTF8(body); at >= 0 {
		return unreadable(fmt.Sprintf("not valid UTF-8 at byte %d", at), nil)
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	if strict {
		decoder.DisallowUnknownFields()
	}
	if err := decoder.Decode(into); err != nil {
		var whole json.RawMessage
		if syntax := json.NewDecoder(bytes.NewReader(body)).Decode(&whole); syntax != nil {
			return malformed(syntax)
		}
		return misfit(body, into, "", strict, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return unreadable(fmt.Sprintf("more follows the JSON document at byte %d", decoder.InputOffset()), err)
	}
	return Invalid(repeats(body)...)
}

// invalidUTF8 is the place of the first byte that is none, or -1.
func invalidUTF8(text []byte) int {
	if utf8.Valid(text) {
		return -1
	}
	for i := 0; ; {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size <= 1 {
			return i
		}
		i += size
	}
}

// malformed refuses what is no JSON.
func malformed(err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF):
		return unreadable("the body is empty; a JSON document is expected", err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return unreadable("the JSON document ends too early", err)
	case errors.As(err, &syntax):
		return unreadable(fmt.Sprintf("not valid JSON at byte %d: %s", syntax.Offset, strings.TrimPrefix(syntax.Error(), "json: ")), err)
	}
	return unreadable("not valid JSON: "+strings.TrimPrefix(err.Error(), "json: "), err)
}

func unreadable(detail string, err error) error {
	return &Error{Status: http.StatusBadRequest, Code: CodeInvalidJSON, Detail: detail, Err: err}
}
