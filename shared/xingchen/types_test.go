package xingchen_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/upstream"
	"xinghe/shared/xingchen"
)

// lost lists what of want is missing or different in got; a zero value may be missing.
func lost(path string, want, got any) []string {
	switch want := want.(type) {
	case map[string]any:
		object, _ := got.(map[string]any)
		var paths []string
		for key, value := range want {
			paths = append(paths, lost(path+"."+key, value, object[key])...)
		}
		return paths
	case []any:
		list, _ := got.([]any)
		if len(list) != len(want) {
			return []string{fmt.Sprintf("%s: %d of %d items", path, len(list), len(want))}
		}
		var paths []string
		for i := range want {
			paths = append(paths, lost(fmt.Sprintf("%s[%d]", path, i), want[i], list[i])...)
		}
		return paths
	}
	zero := want == false || want == "" || want == 0.0
	if got == nil && zero || cmp.Equal(want, got) {
		return nil
	}
	return []string{fmt.Sprintf("%s: got %v, want %v", path, got, want)}
}

func keeps[T any](t *testing.T, name string) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		raw := fixture(t, name)
		again, err := json.Marshal(decode[T](t, raw))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range lost("", decode[any](t, raw), decode[any](t, again)) {
			t.Errorf("lost by the type: %s", path)
		}
	})
}

func TestTypesKeepEveryDocumentedField(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"xingchen-chat-custom-request.json", "xingchen-chat-custom-request-model.json",
		"xingchen-chat-custom-request-stream-model.json", "xingchen-chat-platform-request.json",
		"xingchen-chat-platform-request-quickstart.json", "xingchen-chat-platform-request-stream.json",
	} {
		keeps[xingchen.ChatRequest](t, name)
	}
	type envelope struct {
		RequestID string              `json:"requestId"`
		Code      int                 `json:"code"`
		Success   bool                `json:"success"`
		Data      xingchen.ChatResult `json:"data"`
	}
	keeps[envelope](t, "xingchen-chat-custom-response.json")
	keeps[envelope](t, "xingchen-chat-platform-response.json")
	keeps[xingchen.ChatResult](t, "beyond-xingchen-stream-frame.json")
	keeps[xingchen.CharacterSpec](t, "xingchen-character-create-request.json")
	keeps[xingchen.CharacterUpdate](t, "xingchen-character-update-request.json")
	keeps[xingchen.CharacterQuery](t, "xingchen-character-search-request.json")
	keeps[xingchen.CharacterRef](t, "xingchen-character-delete-request.json")
	keeps[xingchen.CharacterRef](t, "xingchen-character-details-query.json")
	keeps[xingchen.HistoryQuery](t, "xingchen-histories-request.json")
	keeps[xingchen.RatingRequest](t, "xingchen-rating-request.json")
	keeps[xingchen.ReminderRequest](t, "xingchen-reminder-request.json")
}

func TestChatResult(t *testing.T) {
	t.Parallel()
	frame := decode[xingchen.ChatResult](t, fixture(t, "beyond-xingchen-stream-frame.json"))
	if got := frame.FinishReason(); got != "" {
		t.Errorf("FinishReason of a running stream = %q, want nothing", got)
	}
	if got := frame.Text(); got != "从前有" {
		t.Errorf("Text = %q", got)
	}
	if got, want := frame.Context.Answer(), "e7cf93ceae5b47238aa99d01d6019268"; got != want {
		t.Errorf("Answer = %q, want messageId %q", got, want)
	}
	both := xingchen.ResultContext{MessageID: "old", AnswerID: "new"}
	if got := both.Answer(); got != "new" {
		t.Errorf("Answer = %q, want answerId", got)
	}
	var empty *xingchen.ChatResult
	if empty.Text() != "" || empty.FinishReason() != "" || (&xingchen.ChatResult{}).Text() != "" {
		t.Error("an empty result says something")
	}
	inMessage := decode[xingchen.ChatResult](t, []byte(`{"choices":[{"messages":[{"content":"a"},{"content":"b","finishReason":"length"}]}]}`))
	if inMessage.FinishReason() != "length" || inMessage.Text() != "ab" {
		t.Errorf("FinishReason, Text = %q, %q", inMessage.FinishReason(), inMessage.Text())
	}
}

func TestImage(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]xingchen.Image{
		`{"taskId":"1","status":"success","fileUrls":["a","b"]}`:    {TaskID: "1", Status: "success", FileURLs: []string{"a", "b"}},
		`{"status":"SUCCESS","fileUrl":["a"]}`:                      {Status: "SUCCESS", FileURLs: []string{"a"}},
		`{"status":"success","fileUrl":"a","fileUrls":[]}`:          {Status: "success", FileURLs: []string{"a"}},
		`{"status":"success","fileUrl":["x"],"fileUrls":["a"]}`:     {Status: "success", FileURLs: []string{"a"}},
		`{"status":"running","fileUrls":null}`:                      {Status: "running"},
		`{"status":"failed","errorMessage":"no","unknown":{"x":1}}`: {Status: "failed", ErrorMessage: "no"},
	} {
		if diff := cmp.Diff(want, decode[xingchen.Image](t, []byte(raw))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", raw, diff)
		}
	}
	for status, want := range map[string][2]bool{"Success": {true, false}, "FAILED": {false, true}, "pending": {}, "": {}} {
		image := xingchen.Image{Status: status}
		if got := [2]bool{image.Done(), image.Failed()}; got != want {
			t.Errorf("status %q: done, failed = %v, want %v", status, got, want)
		}
	}
}

func TestMillis(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 5, 22, 1, 54, 54, 244_900_000, time.UTC)
	if got := xingchen.MillisOf(at); got != 1716342894244 {
		t.Errorf("MillisOf = %d", got)
	}
	if got := xingchen.Millis(1716342894244).Time(); !got.Equal(at.Truncate(time.Millisecond)) || got.Location() != time.UTC {
		t.Errorf("Time = %v", got)
	}
}

func TestChatRequestValidate(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		edit  func(*xingchen.ChatRequest)
		field string
	}{
		"valid":        {func(*xingchen.ChatRequest) {}, ""},
		"no messages":  {func(r *xingchen.ChatRequest) { r.Input.Messages = nil }, "input.messages"},
		"no user":      {func(r *xingchen.ChatRequest) { r.Input.ACA.UserProfile.UserID = "" }, "input.aca.userProfile.userId"},
		"no character": {func(r *xingchen.ChatRequest) { r.Input.ACA.BotProfile = xingchen.BotProfile{} }, "input.aca.botProfile.characterId"},
		"name only":    {func(r *xingchen.ChatRequest) { r.Input.ACA.BotProfile = xingchen.BotProfile{Name: "海梦"} }, "input.aca.botProfile.content"},
		"custom character": {func(r *xingchen.ChatRequest) {
			r.Input.ACA.BotProfile = xingchen.BotProfile{Name: "海梦", CustomTemplateID: "8474"}
		}, ""},
		"regenerate": {func(r *xingchen.ChatRequest) {
			r.Input.Messages = nil
			r.Input.ACA.Context = &xingchen.ChatContext{IsRegenerate: true, QueryID: "q"}
		}, ""},
	} {
		req := chatRequest()
		test.edit(&req)
		err := req.Validate()
		if test.field == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		field, ok := errors.AsType[*upstream.FieldError](err)
		if !ok || field.Field != test.field {
			t.Errorf("%s: got %v, want an error of %s", name, err, test.field)
		}
	}
}
