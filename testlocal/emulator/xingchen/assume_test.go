package xingchen_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/testlocal/emulator/fault"
	"xinghe/testlocal/emulator/xingchen"
)

// TestSwitches turns each switch of what is stored, and looks whether it does what it says.
func TestSwitches(t *testing.T) {
	t.Parallel()
	t.Run("HistoryUnused", func(t *testing.T) {
		t.Parallel()
		b := setup(t, assume(func(a *xingchen.Assumptions) { a.HistoryUnused = true }))
		if got := b.chat(chatBody(wan, "u", "你好", `"useChatHistory":false`)); got.Context.IsSave || got.Context.ChatRoomID != 0 {
			t.Errorf("context: %+v", got.Context)
		}
		if got := b.history(wan, "u", "").Total; got != 0 {
			t.Errorf("%d rows", got)
		}
	})
	t.Run("StoreAllMessages", func(t *testing.T) {
		t.Parallel()
		b := setup(t, assume(func(a *xingchen.Assumptions) { a.StoreAllMessages, a.NoOpeningLine = true, true }))
		b.chat(strings.Replace(chatBody(wan, "u", "c"), `[{`, `[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{`, 1))
		if diff := cmp.Diff([]string{"user", "character", "user", "character"}, b.history(wan, "u", "").types()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("SessionIdle", func(t *testing.T) {
		t.Parallel()
		b := setup(t, assume(func(a *xingchen.Assumptions) { a.SessionIdle = time.Hour }))
		first := b.chat(chatBody(wan, "u", "a")).Context.SessionID
		b.clock.advance(30 * time.Minute)
		second := b.chat(chatBody(wan, "u", "a")).Context.SessionID
		b.clock.advance(2 * time.Hour)
		if third := b.chat(chatBody(wan, "u", "a")).Context.SessionID; first != second || third == second {
			t.Errorf("sessions %s, %s, %s", first, second, third)
		}
	})
	t.Run("ResetDeletes", func(t *testing.T) {
		t.Parallel()
		b := setup(t, assume(func(a *xingchen.Assumptions) { a.ResetDeletes = true }))
		b.chat(chatBody(wan, "u", "a"))
		b.post("lm-local", "/v2/api/chat/reset", `{"characterId":"`+wan+`","userId":"u"}`)
		if got := b.history(wan, "u", "").Total; got != 0 {
			t.Errorf("%d rows", got)
		}
	})
	t.Run("ReminderTypeAndRatingFromZero", func(t *testing.T) {
		t.Parallel()
		b := setup(t, assume(func(a *xingchen.Assumptions) { a.ReminderType, a.RatingFromZero = "reminder", true }))
		b.post("lm-local", "/v2/api/chat/reminder", `{"characterId":"`+wan+`","bizUserId":"u","content":"在吗"}`)
		if !slices.Contains(b.history(wan, "u", "").types(), "reminder") {
			t.Error("no reminder")
		}
		refusedWith(t, b.post("lm-local", "/v2/api/chat/rating", `{"messageId":"a4d8ae9dbcd54d9196cd20afeb7a3059","rating":-1}`),
			400, "aca.error.invalid.param", "0 and 5")
	})
	t.Run("UpdateClearsAuditStatusFirstVersion", func(t *testing.T) {
		t.Parallel()
		b := setup(t, assume(func(a *xingchen.Assumptions) { a.UpdateClears, a.AuditStatus, a.FirstVersion = true, "passed", 7 }))
		b.post("lm-local", "/v2/api/character/update",
			`{"characterId":"`+general+`","version":7,"name":"甲","introduction":"乙","basicInformation":"丙","openingLine":"丁"}`)
		got := decodeData[map[string]any](t, b.get("lm-local", "/v2/api/character/details", "characterId="+general+"&version=7"))
		if got["name"] != "甲" || got["chatExample"] != nil || got["auditStatus"] != "passed" {
			t.Errorf("details: %v", got)
		}
	})
	t.Run("Images", func(t *testing.T) {
		t.Parallel()
		b := setup(t, assume(func(a *xingchen.Assumptions) {
			a.ImageForEveryAnswer, a.ImageDelay, a.ImageSuccess = true, -1, "SUCCEEDED"
		}))
		said := b.chat(chatBody(general, "u", "你好"))
		got := decodeData[pictureData](t, b.get("lm-local", "/v2/api/chat/polling/image", "messageId="+said.Context.MessageID+"&userId=u"))
		if got.Status != "SUCCEEDED" || len(got.FileURL) != 1 {
			t.Errorf("picture: %+v", got)
		}
	})
	t.Run("KeysOfErrors", func(t *testing.T) {
		t.Parallel()
		b := setup(t, assume(func(a *xingchen.Assumptions) {
			a.ThrottleKey, a.SystemKey, a.ParallelKey, a.ParallelStatus = "t", "s", "p", http.StatusConflict
		}))
		for name, want := range map[fault.Name]string{fault.Throttle: "t", fault.Unavailable: "s"} {
			if err := b.faults.Set(fault.Rule{Fault: name}); err != nil {
				t.Fatal(err)
			}
			if got := b.get("lm-local", "/v2/api/character/details", "characterId="+wan).ErrorMessageKey; got != want {
				t.Errorf("%s: key %q", name, got)
			}
		}
	})
	t.Run("ParallelAllowed", func(t *testing.T) {
		t.Parallel()
		b := setup(t, assume(func(a *xingchen.Assumptions) { a.ParallelAllowed = true }))
		if err := b.faults.Set(fault.Rule{Fault: fault.Stall, AtFrame: 2, Times: 1}); err != nil {
			t.Fatal(err)
		}
		resp, err := b.client.Do(b.streamRequest(t.Context(), chatBody(wan, "u", "你今年多大")))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if got := b.post("lm-local", "/v2/api/chat/send", chatBody(wan, "u", "hi")); got.Status != http.StatusOK {
			t.Errorf("a second conversation: %s", got.Raw)
		}
	})
}
