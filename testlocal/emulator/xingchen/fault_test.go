package xingchen_test

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"xinghe/testlocal/emulator/fault"
)

// struck streams the documented answer with a fault and returns what arrived.
func struck(t *testing.T, rule fault.Rule) ([]frame, string, error) {
	t.Helper()
	b := setup(t)
	if err := b.faults.Set(rule); err != nil {
		t.Fatal(err)
	}
	resp, err := b.client.Do(b.streamRequest(t.Context(), chatBody(wan, "u", "你今年多大")))
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	raw, readErr := io.ReadAll(resp.Body)
	frames, err := readFrames(strings.NewReader(string(raw)))
	return frames, string(raw), errors.Join(readErr, err)
}

func TestStreamFaults(t *testing.T) {
	t.Parallel()
	t.Run("CutLosesTheLastFrame", func(t *testing.T) {
		t.Parallel()
		frames, _, err := struck(t, fault.Rule{Fault: fault.Cut})
		if err != nil || len(frames) != 3 || frames[2].result(t).Stop {
			t.Errorf("%d frames, %v", len(frames), err)
		}
	})
	t.Run("CutAtAFrame", func(t *testing.T) {
		t.Parallel()
		frames, _, err := struck(t, fault.Rule{Fault: fault.Cut, AtFrame: 2})
		if err != nil || len(frames) != 1 {
			t.Errorf("%d frames, %v", len(frames), err)
		}
	})
	t.Run("ResetAtAFrame", func(t *testing.T) {
		t.Parallel()
		frames, _, err := struck(t, fault.Rule{Fault: fault.Reset, AtFrame: 3})
		if !errors.Is(err, syscall.ECONNRESET) || len(frames) != 2 {
			t.Errorf("%d frames, %v", len(frames), err)
		}
	})
	t.Run("ResetAtAByte", func(t *testing.T) {
		t.Parallel()
		_, raw, err := struck(t, fault.Rule{Fault: fault.Reset, AtByte: 777})
		if !errors.Is(err, syscall.ECONNRESET) || len(raw) != 777 {
			t.Errorf("%d bytes, %v", len(raw), err)
		}
	})
	t.Run("ResetAtOnce", func(t *testing.T) {
		t.Parallel()
		if _, _, err := struck(t, fault.Rule{Fault: fault.Refuse}); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("HalfCloseAtAFrame", func(t *testing.T) {
		t.Parallel()
		frames, _, err := struck(t, fault.Rule{Fault: fault.HalfClose, AtFrame: 2})
		if !errors.Is(err, io.ErrUnexpectedEOF) || len(frames) != 1 {
			t.Errorf("%d frames, %v", len(frames), err)
		}
	})
	t.Run("HalfCloseAtAByte", func(t *testing.T) {
		t.Parallel()
		_, raw, err := struck(t, fault.Rule{Fault: fault.HalfClose, AtByte: 100})
		if !errors.Is(err, io.ErrUnexpectedEOF) || len(raw) != 100 {
			t.Errorf("%d bytes, %v", len(raw), err)
		}
	})
	t.Run("StallThenGoesOn", func(t *testing.T) {
		t.Parallel()
		start := time.Now()
		frames, _, err := struck(t, fault.Rule{Fault: fault.Stall, AtFrame: 2, Delay: 60 * time.Millisecond})
		if err != nil || len(frames) != 4 || time.Since(start) < 60*time.Millisecond {
			t.Errorf("%d frames after %v, %v", len(frames), time.Since(start), err)
		}
	})
	t.Run("ErrorEvent", func(t *testing.T) {
		t.Parallel()
		frames, raw, err := struck(t, fault.Rule{Fault: fault.ErrorEvent, AtFrame: 2})
		if err != nil || len(frames) != 2 || frames[1].event != "error" {
			t.Fatalf("%d frames, %v\n%s", len(frames), err, raw)
		}
		want := shapeOf(t, []byte(strings.TrimPrefix(strings.Split(string(file(t, "assumed-xingchen-stream-error.sse")), "\n")[1], "data:")))
		if diff := cmp.Diff(want, shapeOf(t, frames[1].data)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("CRLF", func(t *testing.T) {
		t.Parallel()
		frames, raw, err := struck(t, fault.Rule{Fault: fault.CRLF})
		if err != nil || len(frames) != 4 || strings.Count(raw, "\r\n") != strings.Count(raw, "\n") {
			t.Errorf("%d frames, %v", len(frames), err)
		}
	})
	t.Run("SplitAndJoinChangeNoBytes", func(t *testing.T) {
		t.Parallel()
		_, want, _ := struck(t, fault.Rule{Fault: fault.Latency, Delay: 1})
		for _, name := range []fault.Name{fault.Split, fault.Join} {
			_, got, err := struck(t, fault.Rule{Fault: name})
			if err != nil || got != want {
				t.Errorf("%s: %v\n%s", name, err, cmp.Diff(want, got))
			}
		}
	})
	t.Run("Huge", func(t *testing.T) {
		t.Parallel()
		frames, _, err := struck(t, fault.Rule{Fault: fault.Huge, AtFrame: 2})
		if err != nil || len(frames) != 4 || len(frames[1].data) < 5<<20-100 || frames[1].result(t).text() == "" {
			t.Errorf("%d frames, %v", len(frames), err)
		}
	})
	t.Run("InvalidUTF8", func(t *testing.T) {
		t.Parallel()
		_, raw, err := struck(t, fault.Rule{Fault: fault.InvalidUTF8})
		if err != nil || utf8.ValidString(raw) {
			t.Errorf("valid, %v", err)
		}
	})
	t.Run("MalformedJSON", func(t *testing.T) {
		t.Parallel()
		_, raw, err := struck(t, fault.Rule{Fault: fault.MalformedJSON, AtFrame: 4})
		if err != nil || !strings.HasSuffix(strings.TrimSpace(raw), `"stop":true`) {
			t.Errorf("%v: %s", err, raw)
		}
	})
	t.Run("Rewrite", func(t *testing.T) {
		t.Parallel()
		frames, _, err := struck(t, fault.Rule{Fault: fault.Rewrite})
		got := texts(t, frames)
		if err != nil || len(got) != 4 || strings.HasPrefix(got[1], got[0]) || !strings.HasPrefix(got[3], got[2]) {
			t.Errorf("%v, %v", got, err)
		}
	})
	t.Run("Comment", func(t *testing.T) {
		t.Parallel()
		frames, raw, err := struck(t, fault.Rule{Fault: fault.Comment})
		if err != nil || len(frames) != 4 || strings.Count(raw, ": ping\n") != 4 {
			t.Errorf("%d frames, %v", len(frames), err)
		}
	})
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule   fault.Rule
		status int
		after  string
	}{
		{fault.Rule{Fault: fault.Throttle, RetryAfter: 1500 * time.Millisecond}, 429, "2"},
		{fault.Rule{Fault: fault.ThrottleBare}, 429, ""},
		{fault.Rule{Fault: fault.InternalError}, 500, ""},
		{fault.Rule{Fault: fault.BadGateway}, 502, ""},
		{fault.Rule{Fault: fault.Unavailable, RetryAfter: time.Second}, 503, "1"},
	} {
		b := setup(t)
		row.rule.Route = "/v2/api/chat/*"
		if err := b.faults.Set(row.rule); err != nil {
			t.Fatal(err)
		}
		got := b.post("lm-local", "/v2/api/chat/send", chatBody(wan, "u", "hi"))
		if got.Status != row.status || got.Code != row.status || got.Header.Get("Retry-After") != row.after || got.Success {
			t.Errorf("%s: status %d, Retry-After %q: %s", row.rule.Fault, got.Status, got.Header.Get("Retry-After"), got.Raw)
		}
		if other := b.get("lm-local", "/v2/api/character/details", "characterId="+wan); other.Status != http.StatusOK {
			t.Errorf("%s strikes another route", row.rule.Fault)
		}
	}
}

func TestQuotaFault(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.faults.SetClock(b.clock.Now)
	if err := b.faults.Set(fault.Rule{Fault: fault.Quota, Limit: 2, Window: time.Minute}); err != nil {
		t.Fatal(err)
	}
	ask := func(key string) int { return b.get(key, "/v2/api/character/details", "characterId="+teller).Status }
	got := []int{ask("lm-local"), ask("lm-local"), ask("lm-local"), ask("lm-other")}
	b.clock.advance(time.Minute)
	if diff := cmp.Diff([]int{200, 200, 429, 200, 200}, append(got, ask("lm-local"))); diff != "" {
		t.Error(diff)
	}
}

func TestAnswerFaults(t *testing.T) {
	t.Parallel()
	send := func(rule fault.Rule) (string, error) {
		b := setup(t)
		if err := b.faults.Set(rule); err != nil {
			t.Fatal(err)
		}
		req := b.request(t.Context(), http.MethodPost, "/v2/api/chat/send", "aca-chat-send", []byte(chatBody(wan, "u", "你好")))
		resp, err := b.client.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		return string(raw), err
	}
	if raw, err := send(fault.Rule{Fault: fault.MalformedJSON}); err != nil || strings.HasSuffix(raw, "}}") {
		t.Errorf("malformed: %v", err)
	}
	if raw, err := send(fault.Rule{Fault: fault.InvalidUTF8}); err != nil || utf8.ValidString(raw) {
		t.Errorf("invalid: %v", err)
	}
	if raw, err := send(fault.Rule{Fault: fault.Huge, Bytes: 1 << 20}); err != nil || len(raw) < 1<<20-10 {
		t.Errorf("huge: %d, %v", len(raw), err)
	}
	if raw, err := send(fault.Rule{Fault: fault.Reset, AtByte: 50}); !errors.Is(err, syscall.ECONNRESET) || len(raw) != 50 {
		t.Errorf("reset: %d bytes, %v", len(raw), err)
	}
	if raw, err := send(fault.Rule{Fault: fault.HalfClose, AtByte: 50}); !errors.Is(err, io.ErrUnexpectedEOF) || len(raw) != 50 {
		t.Errorf("half-close: %d bytes, %v", len(raw), err)
	}
	if _, err := send(fault.Rule{Fault: fault.Cut}); err == nil {
		t.Error("cut: the answer came whole")
	}
}

func TestHistoryFaults(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 12 {
		b.chat(chatBody(wan, "u", "你好"))
		b.clock.advance(time.Second)
	}
	page := func(number string, rule fault.Rule) historyData {
		rule.Route = "/v2/api/chat/message/histories"
		if err := b.faults.Set(rule); err != nil {
			t.Fatal(err)
		}
		defer b.faults.Clear()
		return decodeData[historyData](t, b.post("lm-local", rule.Route,
			`{"where":{"characterId":"`+wan+`","bizUserId":"u"},"orderBy":["gmtCreate asc"],"pageNum":`+number+`}`))
	}
	whole := page("1", fault.Rule{Fault: fault.Latency, Delay: 1})
	if whole.Total != 25 {
		t.Fatalf("total %d", whole.Total)
	}
	if got := page("1", fault.Rule{Fault: fault.LateRows, Rows: 2}); got.Total != 23 {
		t.Errorf("late rows: total %d", got.Total)
	}
	if got := []int{page("1", fault.Rule{Fault: fault.TotalDrift}).Total, page("2", fault.Rule{Fault: fault.TotalDrift}).Total}; got[0] == got[1] {
		t.Errorf("total does not drift: %v", got)
	}
	repeated := page("1", fault.Rule{Fault: fault.RepeatRow})
	if len(repeated.List) != 10 || repeated.List[0].MessageID != whole.List[9].MessageID {
		t.Errorf("repeated: %+v", repeated.List)
	}
	if got := page("1", fault.Rule{Fault: fault.DropRow}); len(got.List) != 9 || got.List[0].MessageID != whole.List[1].MessageID {
		t.Errorf("dropped: %+v", got.List)
	}
	equal := page("1", fault.Rule{Fault: fault.EqualTimes}).List
	if !slices.ContainsFunc(equal[1:], func(row struct {
		MessageID, ChatID, SessionID, Content, MessageType string
		MessageIssuer                                      struct{ UserID, BizUserID, UserName, UserType string }
		GmtCreate                                          int64
		IsGreeting                                         bool
		Rating                                             *float64
		RegenerateTimes                                    int
	},
	) bool {
		return row.GmtCreate == equal[0].GmtCreate
	}) {
		t.Error("no equal times")
	}
}

func TestPictureFaults(t *testing.T) {
	t.Parallel()
	for name, want := range map[fault.Name]string{fault.ImageStuck: "running", fault.ImageFailed: "failed", fault.ImageExpired: "success"} {
		b := setup(t)
		if err := b.faults.Set(fault.Rule{Fault: name}); err != nil {
			t.Fatal(err)
		}
		got := decodeData[pictureData](t, b.get("lm-local", "/v2/api/chat/polling/image", "messageId=8b9df7b9-f15b-4377-9e41-9a3e75ca6af7&userId=1234567"))
		if got.Status != want {
			t.Errorf("%s: %+v", name, got)
		}
		if name != fault.ImageExpired {
			continue
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, got.FileURLs[0], nil)
		if err != nil {
			t.Fatal(err)
		}
		if file := b.do(req); file.Status != http.StatusForbidden {
			t.Errorf("expired: status %d", file.Status)
		}
	}
}
