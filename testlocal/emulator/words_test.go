package emulator_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/beebot"
	"xinghe/shared/sign"
	"xinghe/shared/upstream"
	"xinghe/shared/xingchen"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/model"
)

// mind is a fake model. It says pieces, a sign on next between each two, and then ends as told.
type mind struct {
	pieces []string
	status int           // of a refusal before the first piece
	breaks bool          // the answer ends without saying so
	next   chan struct{} // nil: nothing is waited for
	asked  chan []model.Message
	left   chan struct{} // closed when the emulator has left
}

func (m *mind) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var question struct{ Messages []model.Message }
	if err := json.NewDecoder(r.Body).Decode(&question); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if m.asked != nil {
		m.asked <- question.Messages
	}
	if m.status != 0 {
		http.Error(w, `{"error":{"message":"no"}}`, m.status)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for i, piece := range m.pieces {
		if i > 0 && m.next != nil {
			select {
			case <-m.next:
			case <-r.Context().Done():
				close(m.left)
				return
			}
		}
		_, _ = fmt.Fprintf(w, "data: {\"choices\":[{\"delta\":{\"content\":%q}}]}\n\n", piece)
		_ = http.NewResponseController(w).Flush()
	}
	if !m.breaks {
		_, _ = io.WriteString(w, "data: [DONE]\n\n")
	}
}

// minded is an emulator whose words a fake model gives, and clients of both services.
func minded(t *testing.T, m *mind, assume emulator.Assumptions) (*xingchen.Client, *beebot.Client) {
	t.Helper()
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	words, err := model.New(model.Config{URL: server.URL, Model: "m"})
	if err != nil {
		t.Fatal(err)
	}
	b := setup(t, emulator.Config{Words: words, Assume: assume})
	robots := beebotClient(t, beebot.Config{Endpoint: b.url, StreamURL: b.url, AgentKey: sign.NewSecret(emulator.DefaultAgentKey)},
		beebot.Credentials{AccessKeyID: emulator.DefaultAccessKeyID, AccessKeySecret: sign.NewSecret(emulator.DefaultAccessKeySecret)})
	return xingchenClient(t, b.url, sign.NewSecret(emulator.DefaultXingchenKey)), robots
}

func ask(incremental bool) xingchen.ChatRequest {
	var req xingchen.ChatRequest
	body := fmt.Sprintf(`{"input":{"messages":[{"role":"user","content":"你好"}],"aca":{"botProfile":{"characterId":"c39797a35ad243f1a85baaa6e1ec37e0"},
		"userProfile":{"userId":"u1","userName":"小明"},"scenario":{"description":"在海边"}}},"parameters":{"incrementalOutput":%t}}`, incremental)
	if err := json.Unmarshal([]byte(body), &req); err != nil {
		panic(err)
	}
	return req
}

func TestModelStreamsThrough(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		incremental bool
		assume      emulator.Assumptions
		want        []string
	}{
		"Cumulative":  {want: []string{"你", "你好", "你好呀。", "你好呀。"}},
		"Incremental": {incremental: true, want: []string{"你", "好", "呀。"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &mind{pieces: []string{"你", "好", "呀。"}, next: make(chan struct{}, 3), asked: make(chan []model.Message, 1), left: make(chan struct{})}
			if tc.incremental {
				m.next <- struct{}{} // a piece is held back until it is known not to be the last
			}
			client, _ := minded(t, m, tc.assume)
			stream, err := client.Stream(t.Context(), ask(tc.incremental))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = stream.Close() }()
			var got []string
			for frame, err := range stream.Frames() {
				if err != nil {
					t.Fatal(err)
				}
				// The model says the next piece only when this one has come.
				got = append(got, frame.Text())
				select {
				case m.next <- struct{}{}:
				default:
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			question := <-m.asked
			if len(question) < 2 || question[0].Role != "system" || !strings.Contains(question[0].Content, "请扮演小婉") || !strings.Contains(question[0].Content, "场景:在海边") ||
				!slices.Contains(question, model.Message{Role: "user", Content: "你好"}) {
				t.Errorf("%+v", question)
			}
			// The answer is part of the history.
			page, err := client.Histories(t.Context(), xingchen.HistoryQuery{
				Where: xingchen.HistoryWhere{CharacterID: "c39797a35ad243f1a85baaa6e1ec37e0", BizUserID: "u1"}, OrderBy: []string{"gmtCreate desc"}, PageNum: 1, PageSize: 1,
			})
			if err != nil || len(page.List) != 1 || page.List[0].Content != "你好呀。" {
				t.Errorf("%+v %v", page, err)
			}
		})
	}
}

func TestModelAnswersWhole(t *testing.T) {
	t.Parallel()
	client, _ := minded(t, &mind{pieces: []string{"你", "好"}}, emulator.Assumptions{})
	answer, err := client.Chat(t.Context(), ask(false))
	if err != nil || answer.Text() != "你好" {
		t.Errorf("%+v %v", answer, err)
	}
}

func TestModelIsCutToLength(t *testing.T) {
	t.Parallel()
	client, _ := minded(t, &mind{pieces: []string{strings.Repeat("一", 99), "二三", "四"}}, emulator.Assumptions{})
	stream, err := client.Stream(t.Context(), ask(false))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	var last *xingchen.ChatResult
	for frame, err := range stream.Frames() {
		if err != nil {
			t.Fatal(err)
		}
		last = frame
	}
	if got := last.Text(); got != strings.Repeat("一", 99)+"二" || last.Choices[0].StopReason != "length" {
		t.Errorf("%s %+v", got, last.Choices[0])
	}
}

func TestModelErrorsAreTheServices(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		mind *mind
		kind upstream.Kind
		said string // before that
	}{
		"Busy":   {&mind{status: http.StatusTooManyRequests}, upstream.KindThrottled, ""},
		"Broken": {&mind{status: http.StatusInternalServerError}, upstream.KindUnavailable, ""},
		"Cut":    {&mind{pieces: []string{"你", "好"}, breaks: true}, upstream.KindUnavailable, "你好"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, robots := minded(t, tc.mind, emulator.Assumptions{})
			kind := func(err error) upstream.Kind {
				var refused interface{ Kind() upstream.Kind }
				if !errors.As(err, &refused) {
					t.Fatalf("%v", err)
				}
				return refused.Kind()
			}
			if _, err := client.Chat(t.Context(), ask(false)); kind(err) != tc.kind {
				t.Errorf("whole: %v", err)
			}
			text := ""
			stream, err := client.Stream(t.Context(), ask(false))
			if err == nil {
				defer func() { _ = stream.Close() }()
				for frame, failed := range stream.Frames() {
					if err = failed; err == nil {
						text = frame.Text()
					}
				}
			}
			if kind(err) != tc.kind || text != tc.said {
				t.Errorf("streamed: %q, then %v; want %q", text, err, tc.said)
			}
			answer, err := robots.Stream(t.Context(), beebot.StreamRequest{InstanceID: emulator.DefaultInstanceID, Utterance: "讲个笑话", SenderID: "u"})
			if err == nil {
				defer func() { _ = answer.Close() }()
				for _, failed := range answer.Snapshots() {
					err = failed
				}
			}
			if err == nil {
				t.Error("a robot knows no error")
			}
		})
	}
}

func TestModelHearsOfLeaving(t *testing.T) {
	t.Parallel()
	m := &mind{pieces: []string{"你", "好"}, next: make(chan struct{}), left: make(chan struct{})}
	client, _ := minded(t, m, emulator.Assumptions{})
	stream, err := client.Stream(t.Context(), ask(false))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Next(); err != nil {
		t.Fatal(err)
	}
	_ = stream.Close()
	select {
	case <-m.left:
	case <-time.After(time.Minute):
		t.Error("the model goes on")
	}
}

func TestModelSpeaksForRobots(t *testing.T) {
	t.Parallel()
	pieces := []string{"从前有座山,山里有座庙。", "庙里有个", "老和尚,在给小和尚讲故事。"}
	m := &mind{pieces: pieces, next: make(chan struct{}, 3), asked: make(chan []model.Message, 1), left: make(chan struct{})}
	_, robots := minded(t, m, emulator.Assumptions{})
	stream, err := robots.Stream(t.Context(), beebot.StreamRequest{InstanceID: emulator.DefaultInstanceID, Utterance: "讲个笑话", SenderID: "u"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	last := beebot.Snapshot{}
	for snapshot, err := range stream.Snapshots() {
		if err != nil {
			t.Fatal(err)
		}
		if snapshot.Text != last.Text && strings.HasPrefix(pieces[0], snapshot.Text) {
			m.next <- struct{}{} // what the model has said so far has come
			m.next <- struct{}{}
		}
		last = snapshot
	}
	if last.Text != strings.Join(pieces, "") || !last.End {
		t.Errorf("%+v", last)
	}
	if question := <-m.asked; question[len(question)-1].Content != "讲个笑话" {
		t.Errorf("%+v", question)
	}
}

func TestModelCompletes(t *testing.T) {
	t.Parallel()
	route, ok := xingchen.RouteFor(http.MethodPost, "/v2/api/chat/completions")
	if !ok {
		t.Fatal("there is no such route")
	}
	for name, tc := range map[string]struct {
		mind   *mind
		extra  string
		want   string
		failed bool
	}{
		"Streamed": {mind: &mind{pieces: []string{"你", "好"}}, want: "你好"},
		"Stopped":  {mind: &mind{pieces: []string{"你", "好呀"}}, extra: `,"stop":"呀"`, want: "你好"},
		"Cut":      {mind: &mind{pieces: []string{"你"}, breaks: true}, want: "你", failed: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, _ := minded(t, tc.mind, emulator.Assumptions{})
			body := `{"stream":true,"messages":[{"role":"user","content":"你好"}]` + tc.extra + `}`
			stream, err := client.Open(t.Context(), &xingchen.Call{Route: route, Body: []byte(body)})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = stream.Close() }()
			text := ""
			for event, failed := range upstream.All(stream) {
				if err = failed; err != nil || string(event.Data) == "[DONE]" {
					continue
				}
				var chunk struct {
					Choices []struct{ Delta struct{ Content string } }
				}
				if err := json.Unmarshal(event.Data, &chunk); err != nil {
					t.Fatalf("%s: %v", event.Data, err)
				}
				text += chunk.Choices[0].Delta.Content
			}
			if text != tc.want || (err != nil) != tc.failed {
				t.Errorf("%q %v", text, err)
			}
		})
	}
}
