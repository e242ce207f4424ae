package xingchen_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xinghe/testlocal/emulator/xingchen"
)

// command is one call that the documents show: a curl command or a Python program, with what is wrong on the page mended.
type command struct {
	Name    string
	Page    string
	Source  string
	Method  string
	Path    string
	Headers [][2]string
	Body    string
	Mended  []string
}

func commands(t *testing.T) []command {
	t.Helper()
	var all []command
	if err := json.Unmarshal(file(t, "commands.json"), &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != 28 {
		t.Fatalf("%d commands, want 28", len(all))
	}
	return all
}

func file(tb testing.TB, name string) []byte {
	tb.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// send sends a command with nothing changed but host and key.
func (b *bench) send(c command) *http.Response {
	b.tb.Helper()
	req, err := http.NewRequestWithContext(b.tb.Context(), c.Method, b.url+c.Path, strings.NewReader(c.Body))
	if err != nil {
		b.tb.Fatal(err)
	}
	for _, header := range c.Headers {
		value := header[1]
		if strings.EqualFold(header[0], "Authorization") {
			value = "Bearer lm-local"
		}
		req.Header.Set(header[0], value)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.tb.Fatal(err)
	}
	return resp
}

func (c command) header(name string) string {
	for _, header := range c.Headers {
		if strings.EqualFold(header[0], name) {
			return header[1]
		}
	}
	return ""
}

// shape reduces JSON to its keys, types and nesting; a list has the shape of its first element.
func shape(value any) any {
	switch v := value.(type) {
	case map[string]any:
		fields := make(map[string]any, len(v))
		for name, field := range v {
			fields[name] = shape(field)
		}
		return fields
	case []any:
		if len(v) == 0 {
			return []any{}
		}
		return []any{shape(v[0])}
	default:
		return fmt.Sprintf("%T", v)
	}
}

func shapeOf(tb testing.TB, text []byte) any {
	tb.Helper()
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	return shape(value)
}

// prune takes out of a shape what the other has not got, so that newer fields may stand beside the documented ones.
func prune(value, by any) any {
	fields, ok := value.(map[string]any)
	wanted, both := by.(map[string]any)
	if !ok || !both {
		if list, isList := value.([]any); isList && len(list) == 1 {
			if other, isOther := by.([]any); isOther && len(other) == 1 {
				return []any{prune(list[0], other[0])}
			}
		}
		return value
	}
	kept := make(map[string]any)
	for name, field := range fields {
		if want, known := wanted[name]; known {
			kept[name] = prune(field, want)
		}
	}
	return kept
}

func TestDocumentedCommands(t *testing.T) {
	t.Parallel()
	for _, c := range commands(t) {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			for _, plain := range []bool{false, true} {
				b := setup(t, assume(func(a *xingchen.Assumptions) { a.PlainContext, a.Strict = plain, plain }))
				resp := b.send(c)
				defer resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Fatalf("status %d", resp.StatusCode)
				}
				if strings.HasSuffix(c.header("x-fag-servicename"), "-sse") {
					checkDocumentedStream(t, c, resp)
					continue
				}
				checkDocumentedAnswer(t, c, resp, plain)
			}
		})
	}
}

func checkDocumentedStream(t *testing.T, c command, resp *http.Response) {
	t.Helper()
	if got, want := resp.Header.Get("Content-Type"), "text/event-stream;charset=UTF-8"; got != want {
		t.Errorf("Content-Type %q, want %q", got, want)
	}
	frames, err := readFrames(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"听起来很不错,", "听起来很不错,我们可以去找一些", "听起来很不错,我们可以去找一些有趣的地方拍照。", "听起来很不错,我们可以去找一些有趣的地方拍照。"}
	if c.Page == "platform characters" {
		want = nil
		if err := json.Unmarshal(file(t, "xingchen-stream-cumulative.json"), &want); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, texts(t, frames)); diff != "" {
		t.Errorf("texts (-want +got):\n%s", diff)
	}
	for i, f := range frames {
		result := f.result(t)
		last := i == len(frames)-1
		reason := map[bool]string{false: "null", true: "stop"}[last]
		if result.Stop != last || result.Choices[0].StopReason != reason || result.Choices[0].Messages[0].FinishReason != reason {
			t.Errorf("frame %d: %s", i+1, f.data)
		}
		if (result.Usage != nil) != last {
			t.Errorf("frame %d: usage belongs to the last frame", i+1)
		}
	}
}

// documented are the answers that the documents show, by the beginning of a command's name.
var documented = map[string]string{
	"custom characters/chat-send":   "xingchen-chat-custom-response.json",
	"platform characters/chat-send": "xingchen-chat-platform-response.json",
}

func checkDocumentedAnswer(t *testing.T, c command, resp *http.Response, plain bool) {
	t.Helper()
	if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, "application/json") {
		t.Errorf("Content-Type %q", got)
	}
	var body json.RawMessage
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	base := c.Name[:strings.LastIndex(c.Name, "/")]
	if sample, known := documented[base]; known {
		want, got := shapeOf(t, file(t, sample)), shapeOf(t, body)
		if !plain {
			got = prune(got, want)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("shape (-documented +got):\n%s", diff)
		}
		return
	}
	want, known := expected[c.header("x-fag-servicename")]
	if !known {
		t.Fatalf("no expectation for %s", c.Name)
	}
	var got struct {
		RequestID string
		Code      int
		Success   bool
		Data      any
	}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if got.RequestID == "" || got.Code != 200 || !got.Success {
		t.Errorf("envelope: %s", body)
	}
	if fields, isObject := got.Data.(map[string]any); isObject {
		for _, name := range want {
			if _, has := fields[name]; !has {
				t.Errorf("data has no %s: %s", name, body)
			}
		}
	} else if got.Data != true || want != nil {
		t.Errorf("data: %s", body)
	}
}

// expected names the fields of data where the documents show no answer; nil is a boolean.
var expected = map[string][]string{
	"aca-character-create":  {"characterId", "version"},
	"aca-character-update":  nil,
	"aca-character-delete":  nil,
	"aca-character-details": {"characterId", "version", "name", "introduction", "openingLine", "basicInformation", "gmtCreate", "gmtModified"},
	"aca-character-search":  {"list", "page", "pageSize", "total", "pageOffsetValue"},
	"aca-message-history":   {"list", "page", "pageSize", "total", "pageOffsetValue"},
	"aca-message-rating":    nil,
	"aca-chat-reminder":     nil,
	"aca-polling-image":     {"taskId", "status", "fileUrls", "fileUrl"},
}

func TestDocumentedTexts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var incremental []string
	if err := json.Unmarshal(file(t, "xingchen-stream-incremental.json"), &incremental); err != nil {
		t.Fatal(err)
	}
	body := strings.TrimSuffix(chatBody(wan, "u", "你今年多大"), "}") + `,"parameters":{"incrementalOutput":true}}`
	if diff := cmp.Diff(incremental, texts(t, b.stream(body))); diff != "" {
		t.Errorf("incremental (-want +got):\n%s", diff)
	}
	if got, want := b.chat(chatBody(deskmate, "u", "你有几个闺蜜?")).text(), "你多大了?"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	custom := commands(t)[slices.IndexFunc(commands(t), func(c command) bool { return c.Name == "custom characters/chat-send/python" })]
	if got, want := b.chat(custom.Body).text(), "听起来很不错,我们可以去找一些有趣的地方拍照。"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestStreamBytes compares a stream, but for ids and token counts, with the wire form that clients are tested on.
func TestStreamBytes(t *testing.T) {
	t.Parallel()
	for name, parameters := range map[string]string{"cumulative": `{}`, "incremental": `{"incremental_output":true}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, assume(func(a *xingchen.Assumptions) { a.PlainContext = true }))
			body := strings.TrimSuffix(chatBody(wan, "u", "你今年多大"), "}") + `,"parameters":` + parameters + `}`
			got := b.stream(body)
			want, err := readFrames(strings.NewReader(string(file(t, "assumed-xingchen-stream-"+name+".sse"))))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(texts(t, want), texts(t, got)); diff != "" {
				t.Errorf("texts (-want +got):\n%s", diff)
			}
			for i := range want {
				shapeWant, shapeGot := shapeOf(t, want[i].data), shapeOf(t, got[i].data)
				if diff := cmp.Diff(shapeWant, prune(shapeGot, shapeWant)); diff != "" {
					t.Errorf("frame %d (-want +got):\n%s", i+1, diff)
				}
			}
			recorded := shapeOf(t, file(t, "beyond-xingchen-stream-frame.json"))
			if diff := cmp.Diff(recorded, shapeOf(t, got[0].data)); diff != "" {
				t.Errorf("first frame against the recorded one (-want +got):\n%s", diff)
			}
		})
	}
}
