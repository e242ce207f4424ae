package stack_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xinghe/testlocal/emulator"
	"xinghe/testlocal/stack"
)

// TestDocumentedCommands sends the chat commands of the Xingchen HTTP API pages, with
// nothing changed but host and key (and the comments removed that two of the bodies carry,
// which JSON does not know), to the emulator and to the front door: both answer in the
// same shape, and that shape holds all that the documented example has.
func TestDocumentedCommands(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, emulator.Config{})
	for _, command := range []struct {
		name   string
		header []string
		body   string
		// like is the documented answer, or frame.
		like   string
		stream bool
	}{
		{
			name: "custom character, streamed", body: "xingchen-chat-custom-request.json", stream: true, // no frame is documented
			header: []string{"accept", "*/*", "X-DashScope-DataInspection", "enable", "X-DashScope-SSE", "enable", "x-fag-servicename", "aca-chat-send-sse", "x-fag-appcode", "aca"},
		},
		{
			name: "custom character, whole", body: "xingchen-chat-custom-request.json", like: "xingchen-chat-custom-response.json",
			header: []string{"accept", "*/*", "X-AcA-DataInspection", "enable", "x-fag-servicename", "aca-chat-send", "x-fag-appcode", "aca"},
		},
		{
			name: "platform character, quick start", body: "xingchen-chat-platform-request-quickstart.json", like: "xingchen-chat-platform-response.json",
			header: []string{"X-AcA-DataInspection", "enable", "x-fag-servicename", "aca-chat-send", "x-fag-appcode", "aca"},
		},
		{
			name: "platform character, streamed", body: "xingchen-chat-platform-request-stream.json", like: "xingchen-chat-platform-response.json", stream: true,
			header: []string{"Accept", "text/event-stream;charset=UTF-8", "X-AcA-DataInspection", "enable", "X-AcA-SSE", "enable", "x-fag-servicename", "aca-chat-send-sse", "x-fag-appcode", "aca"},
		},
		{
			name: "platform character, whole", body: "xingchen-chat-platform-request.json", like: "xingchen-chat-platform-response.json",
			header: []string{"accept", "*/*", "X-AcA-DataInspection", "enable", "x-fag-servicename", "aca-chat-send", "x-fag-appcode", "aca"},
		},
	} {
		t.Run(command.name, func(t *testing.T) {
			body := document(t, command.body)
			emulated := b.call(http.MethodPost, b.EmulatorURL+"/v2/api/chat/send", emulator.DefaultXingchenKey, body, command.header...)
			relayed := b.call(http.MethodPost, b.URL+"/v2/api/chat/send", stack.DefaultKey, body, command.header...)
			if emulated.status != http.StatusOK || relayed.status != http.StatusOK {
				t.Fatalf("emulator %d %s\nfront door %d %s", emulated.status, emulated.body, relayed.status, relayed.body)
			}
			want, got := documents(t, emulated, command.stream), documents(t, relayed, command.stream)
			if diff := cmp.Diff(shapes(want), shapes(got)); diff != "" {
				t.Errorf("the front door answers in another shape than the emulator:\n%s", diff)
			}
			if command.like == "" {
				return
			}
			like := parse(t, document(t, command.like))
			if command.stream { // a frame is the bare result
				like = like.(map[string]any)["data"]
			}
			last := shape(got[len(got)-1])
			for _, line := range shape(like) {
				if !slices.Contains(last, line) {
					t.Errorf("the documented answer has %s, ours has not: %v", line, last)
				}
			}
		})
	}
}

func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// documents are the JSON documents of an answer: one, or one a frame.
func documents(t *testing.T, a answer, stream bool) []any {
	t.Helper()
	if !stream {
		return []any{parse(t, a.body)}
	}
	var list []any
	for frame := range strings.SplitSeq(strings.TrimSuffix(a.body, "\n\n"), "\n\n") {
		data, ok := strings.CutPrefix(frame, "data:")
		if !ok {
			t.Fatalf("frame %q", frame)
		}
		list = append(list, parse(t, data))
	}
	return list
}

func parse(t *testing.T, text string) any {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return value
}

func shapes(values []any) [][]string {
	var list [][]string
	for _, value := range values {
		list = append(list, shape(value))
	}
	return list
}

// shape lists the paths of a JSON document with the types of what stands there.
func shape(value any) []string {
	var lines []string
	var walk func(path string, value any)
	walk = func(path string, value any) {
		switch value := value.(type) {
		case map[string]any:
			for key, inner := range value {
				walk(path+"."+key, inner)
			}
		case []any:
			for _, inner := range value {
				walk(path+"[]", inner)
			}
		default:
			lines = append(lines, fmt.Sprintf("%s %T", path, value))
		}
	}
	walk("", value)
	slices.Sort(lines)
	return slices.Compact(lines)
}
