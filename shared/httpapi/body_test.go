package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/httpapi"
)

func TestDecodeFieldNamesTheWholePath(t *testing.T) {
	t.Parallel()
	type inner struct {
		User struct {
			ID string `json:"id"`
		} `json:"user"`
	}
	for document, want := range map[string][]httpapi.FieldError{
		`{"user":{"id":"u"},"more":1}`: nil,
		`null`:                         nil,
		`{"user":{"id":7}}`:            {{Field: "input.user.id", Message: "is a JSON number, which does not fit"}},
		`{"user":[]}`:                  {{Field: "input.user", Message: "is a JSON array, which does not fit"}},
		`"text"`:                       {{Field: "input", Message: "is a JSON string, which does not fit"}},
	} {
		err := httpapi.DecodeField("input", json.RawMessage(document), new(inner))
		var got []httpapi.FieldError
		if err != nil {
			got = httpapi.AsError(err).Fields
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", document, diff)
		}
	}
}

// layer passes on what it does not know of.
type layer struct{ http.ResponseWriter }

func (l layer) Unwrap() http.ResponseWriter { return l.ResponseWriter }

// holder keeps what is written until it is flushed, as one that compresses does.
type holder struct {
	layer
	held []byte
}

func (h *holder) Write(p []byte) (int, error) {
	h.held = append(h.held, p...)
	return len(p), nil
}

func (h *holder) Flush() {
	_, _ = h.ResponseWriter.Write(h.held)
	h.held = nil
	_ = http.NewResponseController(h.ResponseWriter).Flush()
}

// bare can be written to and no more.
type bare struct{ http.ResponseWriter }

func TestBeginStreamFlushesEachLayer(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(http.ResponseWriter) http.ResponseWriter{
		"none":                  func(w http.ResponseWriter) http.ResponseWriter { return w },
		"one that passes on":    func(w http.ResponseWriter) http.ResponseWriter { return layer{layer{w}} },
		"one that holds back":   func(w http.ResponseWriter) http.ResponseWriter { return layer{&holder{layer: layer{w}}} },
		"one that cannot flush": func(w http.ResponseWriter) http.ResponseWriter { return bare{w} },
	} {
		w := httptest.NewRecorder()
		wrapped := wrap(w)
		flush := httpapi.BeginStream(wrapped)
		for _, frame := range []string{"data:a\n\n", "data:b\n\n"} {
			if _, err := wrapped.Write([]byte(frame)); err != nil {
				t.Fatal(err)
			}
			if err := flush.FlushError(); err != nil || !strings.HasSuffix(w.Body.String(), frame) {
				t.Errorf("%s: %v, the client has %q", name, err, w.Body)
			}
		}
		if w.Flushed == (name == "one that cannot flush") || w.Header().Get("Content-Type") != "text/event-stream;charset=UTF-8" {
			t.Errorf("%s: flushed %t, %v", name, w.Flushed, w.Header())
		}
	}
}
