package httpapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// MaxBody is the limit of a request's body on every function route, in bytes: the smaller
// of what Function Compute and Lambda let through.
const MaxBody = 6 << 20

// ReadBody reads the request's body whole, up to [MaxBody].
func ReadBody(r *http.Request) ([]byte, error) {
	if r.ContentLength > MaxBody {
		drain(r.Body)
		return nil, tooLarge()
	}
	body, err := readAll(r)
	if len(body) > MaxBody {
		drain(r.Body)
		return nil, tooLarge()
	}
	if err != nil {
		return nil, &Error{Status: http.StatusBadRequest, Code: CodeInvalidJSON, Detail: "the body could not be read", Err: err}
	}
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

// drain takes in a bounded rest, so that a client that only listens after it has sent all
// gets to read the refusal rather than a reset.
func drain(body io.Reader) { _, _ = io.CopyN(io.Discard, body, 2*MaxBody) }

func tooLarge() error {
	return &Error{Status: http.StatusRequestEntityTooLarge, Code: CodeBodyTooLarge, Detail: fmt.Sprintf("the body is longer than %d bytes", MaxBody)}
}

// DecodeStrict decodes a body of one of our own routes: one JSON document, no field that
// is not known, each fault named.
func DecodeStrict(body []byte, into any) error { return decode(body, into, true) }

// DecodeLenient decodes a body in upstream's format, whose unknown fields pass.
func DecodeLenient(body []byte, into any) error {
	if json.Unmarshal(body, into) == nil {
		return nil
	}
	return decode(body, into, false) // which knows why not
}

// DecodeField is DecodeLenient for the document in a field of a body that has been decoded.
func DecodeField(field string, document json.RawMessage, into any) error {
	err := DecodeLenient(document, into)
	if refusal, ok := errors.AsType[*Error](err); ok {
		for i := range refusal.Fields {
			if inner := &refusal.Fields[i].Field; *inner == wholeBody {
				*inner = field
			} else {
				*inner = field + "." + *inner
			}
		}
	}
	return err
}

func decode(body []byte, into any, strict bool) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	if strict {
		decoder.DisallowUnknownFields()
	}
	if err := decoder.Decode(into); err != nil {
		return jsonError(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return unreadable(fmt.Sprintf("more follows the JSON document at byte %d", decoder.InputOffset()), err)
	}
	return nil
}

// wholeBody stands for a field where the fault is not in one.
const wholeBody = "body"

func jsonError(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	const unknown = `json: unknown field "`
	switch {
	case errors.Is(err, io.EOF):
		return unreadable("the body is empty; a JSON document is expected", err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return unreadable("the JSON document ends too early", err)
	case errors.As(err, &syntax):
		return unreadable(fmt.Sprintf("not valid JSON at byte %d: %s", syntax.Offset, strings.TrimPrefix(syntax.Error(), "json: ")), err)
	case errors.As(err, &kind):
		field := cmp.Or(kind.Field, wholeBody)
		return Invalid(FieldError{field, fmt.Sprintf("is a JSON %s, which does not fit", kind.Value)})
	case strings.HasPrefix(err.Error(), unknown):
		return Invalid(FieldError{strings.TrimSuffix(strings.TrimPrefix(err.Error(), unknown), `"`), "is not a known field"})
	}
	// A field's own decoder, such as that of a time, speaks here.
	return Invalid(FieldError{wholeBody, strings.TrimPrefix(err.Error(), "json: ")})
}

func unreadable(detail string, err error) error {
	return &Error{Status: http.StatusBadRequest, Code: CodeInvalidJSON, Detail: detail, Err: err}
}
