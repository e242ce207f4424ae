package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"xinghe/shared/httpapi"
)

// spec is a body with all that fields can be.
type spec struct {
	Name  string    `json:"name"`
	From  time.Time `json:"from"`
	Count int       `json:"count"`
	Share float64   `json:"share"`
	Fresh *bool     `json:"fresh"`
	Sink  *struct {
		Type string `json:"type"`
	} `json:"sink"`
	Users []string          `json:"users"`
	Rules []rule            `json:"rules"`
	Tags  map[string]string `json:"tags"`
	Raw   json.RawMessage   `json:"raw"`
	Any   any               `json:"any"`
	Span  span              `json:"span"`
	Names names             `json:"names"`
	base
}

type rule struct {
	Kinds []string `json:"kinds"`
}

type base struct {
	Owner string `json:"owner"`
}

// span reads itself.
type span struct{ text string }

func (s *span) UnmarshalJSON(raw []byte) error {
	if json.Unmarshal(raw, &s.text) != nil || s.text == "" {
		return fmt.Errorf("%s is no span", raw)
	}
	return nil
}

// names reads itself: a name may stand alone.
type names []string

func (n *names) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*n = names{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(n))
}

func TestEveryMisfitIsNamed(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"name":"n","from":"2024-05-01T00:00:00Z","count":1,"share":0.5,"fresh":true,"sink":{"type":"s"},"users":["u"],"rules":[{}],"tags":{"a":"b"},"raw":[{}],"any":{},"span":"1h","owner":"o"}`: "",
		`{"fresh":null,"sink":null,"users":null,"tags":null,"any":null}`: "",
		`{"name":7,"count":1.5,"share":"x","fresh":"yes"}`:               "count: want a whole number, not 1.5; fresh: want true or false; name: want a text; share: want a number",
		`{"from":"yesterday"}`:             "from: want a time such as 2024-05-01T00:00:00Z",
		`{"from":5}`:                       "from: want a time such as 2024-05-01T00:00:00Z",
		`{"count":"1"}`:                    "count: want a whole number",
		`{"count":1e99}`:                   "count: want a whole number, not 1e99",
		`{"sink":"s3"}`:                    "sink: want an object",
		`{"sink":{"type":[],"typo":1}}`:    "sink.type: want a text; sink.typo: is not a known field",
		`{"users":["a",5,"b",[]]}`:         "users[1]: want a text; users[3]: want a text",
		`{"users":"a"}`:                    "users: want a list",
		`{"rules":[{},{"kinds":["x",1]}]}`: "rules[1].kinds[1]: want a text",
		`{"tags":{"b":1,"a":"x"}}`:         "tags.b: want a text",
		`{"span":""}`:                      `span: "" is no span`,
		`{"names":"a"}`:                    "",
		`{"names":["a",5]}`:                "names[1]: want a text",
		`{"names":7}`:                      "names: want a list",
		`{"owner":1,"nme":"n"}`:            "nme: is not a known field; owner: want a text",
		`[]`:                               "body: want an object",
		`"x"`:                              "body: want an object",
		`{"name":"a","name":"b"}`:          "name: stands more than once",
		`{"name":"a","Name":"b"}`:          "Name: stands more than once",
		`{"sink":{"type":"a","\u0074ype":"b"},"rules":[{},{"kinds":[],"kinds":[]}]}`: "sink.type: stands more than once; rules[1].kinds: stands more than once",
		`{"raw":[0,[{"x":1,"y":{"x":1},"x":2}]]}`:                                    "raw[1][0].x: stands more than once",
		`{"raw":{"a":{},"b":{"a":1}},"any":[{"a":1},{"a":1}]}`:                       "",
	} {
		err := httpapi.DecodeStrict([]byte(body), new(spec))
		if got := detail(err); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

// detail is what a client reads of a refusal.
func detail(err error) string {
	if err == nil {
		return ""
	}
	w := httptest.NewRecorder()
	httpapi.Problem(w, "req_1", httpapi.AsError(err))
	var problem struct {
		Detail string `json:"detail"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil {
		return err.Error()
	}
	return problem.Detail
}

func TestMisfitsAreBounded(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"items":  `{"users":[` + strings.Repeat("1,", 10_000) + `1]}`,
		"fields": `{"x0":0` + manyFields(10_000) + `}`,
		"names":  `{"raw":{"a":1` + strings.Repeat(`,"a":1`, 1_000) + `}}`,
	} {
		if n := len(httpapi.AsError(httpapi.DecodeStrict([]byte(body), new(spec))).Fields); n != 50 {
			t.Errorf("%s: %d faults are told", name, n)
		}
	}
	for count, want := range map[int]string{9_990: "", 20_000: "raw.x9999: is one of more than 10000 fields"} {
		if got := detail(httpapi.DecodeLenient([]byte(`{"raw":{"x0":0`+manyFields(count)+`}}`), new(spec))); got != want {
			t.Errorf("%d fields: %q, want %q", count, got, want)
		}
	}
}

func manyFields(count int) string {
	var text strings.Builder
	for i := range count {
		fmt.Fprintf(&text, `,"x%d":0`, i+1)
	}
	return text.String()
}

func TestBodiesAreUTF8(t *testing.T) {
	t.Parallel()
	for _, decode := range []func([]byte, any) error{httpapi.DecodeStrict, httpapi.DecodeLenient} {
		err := decode([]byte("{\"name\":\"星\xff\"}"), new(spec))
		if refusal := httpapi.AsError(err); refusal.Code != httpapi.CodeInvalidJSON || refusal.Detail != "not valid UTF-8 at byte 12" {
			t.Errorf("%v: %s", err, refusal.Detail)
		}
	}
}

func TestDecodeFieldNamesTheWholePath(t *testing.T) {
	t.Parallel()
	type inner struct {
		User struct {
			ID string `json:"id"`
		} `json:"user"`
	}
	for document, want := range map[string]string{
		`{"user":{"id":"u"},"more":1}`: "",
		`null`:                         "",
		`{"user":{"id":7}}`:            "input.user.id: want a text",
		`{"user":[]}`:                  "input.user: want an object",
		`"text"`:                       "input: want an object",
	} {
		if got := detail(httpapi.DecodeField("input", json.RawMessage(document), new(inner))); got != want {
			t.Errorf("%s: %q, want %q", document, got, want)
		}
	}
}

// FuzzRepeats compares what is found with what a reader token by token finds.
func FuzzRepeats(f *testing.F) {
	for _, seed := range []string{
		`{"a":1,"A":2}`, `{"a":{"b":1},"b":[{"b":1},{"b":1,"\u0062":2}]}`, `[]`, `"a"`, `{"":1,"":2}`, `{"a\"b":1,"a\"B":1}`, `{"ſ":1,"s":2,"K":3,"k":4}`,
		`{"a":1` + manyFields(40) + `,"X7":1,"x40":2}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		if !utf8.Valid(document) || !json.Valid(document) {
			return
		}
		var into json.RawMessage
		err := httpapi.DecodeLenient(document, &into)
		if got, want := err != nil, repeated(json.NewDecoder(bytes.NewReader(document))); got != want {
			t.Errorf("%s: %v, want repeated names: %t", document, err, want)
		}
	})
}

// repeated reads a value and reports whether an object in it has a name twice.
func repeated(decoder *json.Decoder) bool {
	token, err := decoder.Token()
	if err != nil {
		return false
	}
	opening, ok := token.(json.Delim)
	if !ok {
		return false
	}
	var names []string
	twice := false
	for decoder.More() {
		if opening == '{' {
			name, _ := decoder.Token()
			text := name.(string)
			twice = twice || slices.ContainsFunc(names, func(other string) bool { return strings.EqualFold(other, text) })
			names = append(names, text)
		}
		inner := repeated(decoder)
		twice = twice || inner
	}
	_, _ = decoder.Token()
	return twice
}

func BenchmarkDecodeLenient(b *testing.B) {
	body := []byte(`{"input":{"messages":[{"role":"user","content":"今天我们出去玩吧?"}],"aca":{"botProfile":{"characterId":"c39797a35ad243f1a85baaa6e1ec37e0"},"userProfile":{"userId":"u","basicInfo":""},"context":{"useChatHistory":false}}},"parameters":{"incrementalOutput":true},"model":"m"}`)
	var into struct {
		Input struct {
			ACA json.RawMessage `json:"aca"`
		} `json:"input"`
	}
	for name, decode := range map[string]func([]byte, any) error{"json": json.Unmarshal, "ours": httpapi.DecodeLenient} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := decode(body, &into); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestBodiesThatDoNotCome are refused, without waiting where the head says enough.
func TestBodiesThatDoNotCome(t *testing.T) {
	t.Parallel()
	handler, err := httpapi.New(httpapi.Config{BodyTimeout: 50 * time.Millisecond}, httpapi.Route{Pattern: "POST /x", Handler: func(w http.ResponseWriter, r *http.Request) error {
		if _, err := httpapi.ReadBody(r); err != nil {
			return err
		}
		// The bound is for the body alone: a long answer is not cut.
		if err := httpapi.BeginStream(w).FlushError(); err != nil {
			return err
		}
		select {
		case <-time.After(200 * time.Millisecond):
			_, err := io.WriteString(w, "data:late\n\n")
			return err
		case <-r.Context().Done():
			return r.Context().Err()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	for name, tc := range map[string]struct{ head, want string }{
		"stalls":            {"Content-Length: 50\r\n\r\n{", "the body did not arrive within 50ms"},
		"chunks that stall": {"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", "the body did not arrive within 50ms"},
		"says too much":     {"Content-Length: 99999999999\r\n\r\n{", "body_too_large"},
		"asks before":       {"Expect: 100-continue\r\nContent-Length: 7000000\r\n\r\n", "HTTP/1.1 413"},
		"comes":             {"Connection: close\r\nContent-Length: 2\r\n\r\n{}", "data:late"},
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		_, err = io.WriteString(conn, "POST /x HTTP/1.1\r\nHost: x\r\n"+tc.head)
		answer, readErr := io.ReadAll(conn)
		if err != nil || readErr != nil || !strings.Contains(string(answer), tc.want) {
			t.Errorf("%s: %v, %v: %s", name, err, readErr, answer)
		}
		_ = conn.Close()
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
