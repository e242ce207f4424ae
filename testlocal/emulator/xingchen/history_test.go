package xingchen_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type historyData struct {
	List []struct {
		MessageID, ChatID, SessionID, Content, MessageType string
		MessageIssuer                                      struct{ UserID, BizUserID, UserName, UserType string }
		GmtCreate                                          int64
		IsGreeting                                         bool
		Rating                                             *float64
		RegenerateTimes                                    int
	}
	Page, PageSize, Total, PageOffsetValue int
}

func (b *bench) history(character, user, more string) historyData {
	b.tb.Helper()
	body := `{"where":{"characterId":"` + character + `","bizUserId":"` + user + `"` + more + `},"orderBy":["gmtCreate asc"],"pageSize":50}`
	a := b.post("lm-local", "/v2/api/chat/message/histories", body)
	if a.Status != http.StatusOK {
		b.tb.Fatalf("histories: %s", a.Raw)
	}
	return decodeData[historyData](b.tb, a)
}

func (h historyData) types() []string {
	types := make([]string, 0, len(h.List))
	for _, row := range h.List {
		types = append(types, row.MessageType)
	}
	return types
}

func TestHistoryOfAChat(t *testing.T) {
	t.Parallel()
	b := setup(t)
	said := b.chat(chatBody(wan, "u1", "你今年多大"))
	b.clock.advance(time.Minute)
	b.post("lm-local", "/v2/api/chat/reminder", `{"characterId":"`+wan+`","bizUserId":"u1","content":"最近为什么不理我啊?"}`)
	b.clock.advance(time.Minute)
	if got := b.post("lm-local", "/v2/api/chat/rating", `{"messageId":"`+said.Context.MessageID+`","rating":4}`); string(got.Data) != "true" {
		t.Fatalf("rating: %s", got.Raw)
	}
	b.post("lm-local", "/v2/api/chat/rating", `{"messageId":"`+said.Context.MessageID+`","rating":-1,"info":"不对"}`)
	h := b.history(wan, "u1", "")
	if diff := cmp.Diff([]string{"opening_remarks", "user", "character", "sys_greetings"}, h.types()); diff != "" {
		t.Fatalf("types (-want +got):\n%s", diff)
	}
	question, answer := h.List[1], h.List[2]
	if question.MessageID != said.Context.ReplyMessageID || answer.MessageID != said.Context.MessageID || answer.MessageID != said.Context.AnswerID {
		t.Errorf("ids of the rows do not fit the answer: %+v", said.Context)
	}
	if question.ChatID != answer.ChatID || answer.SessionID != said.Context.SessionID {
		t.Errorf("question and answer belong together: %+v %+v", question, answer)
	}
	if answer.Rating == nil || *answer.Rating != -1 {
		t.Errorf("rating %v, want -1", answer.Rating)
	}
	if answer.MessageIssuer.UserID != wan || answer.MessageIssuer.UserName != "小婉" || answer.MessageIssuer.UserType != "character" {
		t.Errorf("issuer of the answer: %+v", answer.MessageIssuer)
	}
	if question.MessageIssuer.BizUserID != "u1" || question.MessageIssuer.UserType != "user" {
		t.Errorf("issuer of the question: %+v", question.MessageIssuer)
	}
	if !h.List[0].IsGreeting || answer.IsGreeting {
		t.Error("the opening line is a greeting, the answer is none")
	}
	if other := b.history(wan, "u2", ""); other.Total != 0 {
		t.Errorf("another user sees %d rows", other.Total)
	}
}

func TestHistorySelection(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 60 {
		b.chat(chatBody(wan, "u", fmt.Sprintf("问题%d", i)))
		b.clock.advance(time.Second)
	}
	start := b.history(wan, "u", "").List[0].GmtCreate
	ask := func(more, rest string) historyData {
		a := b.post("lm-local", "/v2/api/chat/message/histories",
			`{"where":{"characterId":"`+wan+`","bizUserId":"u"`+more+`}`+rest+`}`)
		if a.Status != 200 {
			t.Fatalf("%s", a.Raw)
		}
		return decodeData[historyData](t, a)
	}
	t.Run("NewestFirstTenAtATime", func(t *testing.T) {
		h := ask("", "")
		if h.Total != 121 || len(h.List) != 10 || h.Page != 1 || h.PageSize != 10 || h.List[0].Content == h.List[9].Content {
			t.Errorf("total %d, %d rows, page %d of %d", h.Total, len(h.List), h.Page, h.PageSize)
		}
		if h.List[0].GmtCreate < h.List[9].GmtCreate {
			t.Error("the newest row must come first")
		}
	})
	t.Run("PagesCoverAllRowsOnce", func(t *testing.T) {
		seen := make(map[string]bool)
		for page := 1; page <= 4; page++ {
			h := ask("", fmt.Sprintf(`,"pageNum":%d,"pageSize":50,"orderBy":["gmtCreate asc"]`, page))
			if h.PageOffsetValue != (page-1)*50 {
				t.Errorf("offset %d on page %d", h.PageOffsetValue, page)
			}
			for _, row := range h.List {
				seen[row.MessageID] = true
			}
		}
		if len(seen) != 121 {
			t.Errorf("%d rows, want 121", len(seen))
		}
	})
	t.Run("PageZeroIsTheFirst", func(t *testing.T) {
		if diff := cmp.Diff(ask("", `,"pageNum":1`), ask("", `,"pageNum":0`)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("TimesAreInclusive", func(t *testing.T) {
		h := ask(fmt.Sprintf(`,"startTime":%d,"endTime":%d`, start+1000, start+2000), "")
		if h.Total != 4 {
			t.Errorf("total %d, want 4", h.Total)
		}
		if h = ask(fmt.Sprintf(`,"startTime":%d,"endTime":%d`, start+2000, start+1000), ""); h.Total != 0 || h.List == nil {
			t.Errorf("an empty range: %+v", h)
		}
	})
	t.Run("ByIDsSessionAndRoom", func(t *testing.T) {
		all := ask("", "")
		if h := ask(`,"messageIds":["`+all.List[3].MessageID+`","none"]`, ""); h.Total != 1 || h.List[0].MessageID != all.List[3].MessageID {
			t.Errorf("by id: %+v", h)
		}
		if h := ask(`,"sessionId":"`+all.List[0].SessionID+`"`, ""); h.Total != 121 {
			t.Errorf("by session: %d", h.Total)
		}
		if h := ask(`,"sessionId":"none"`, ""); h.Total != 0 {
			t.Errorf("by an unknown session: %d", h.Total)
		}
		if h := ask(`,"chatRoomId":1`, ""); h.Total != 0 {
			t.Errorf("by an unknown room: %d", h.Total)
		}
	})
}

func TestMemory(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.chat(chatBody(wan, "u", "我叫阿青"))
	if got := b.chat(chatBody(wan, "u", "我叫什么名字?")).text(); !strings.Contains(got, "阿青") {
		t.Errorf("with history: %q", got)
	}
	if got := b.chat(chatBody(wan, "u", "我叫什么名字?", `"useChatHistory":false`)).text(); strings.Contains(got, "阿青") {
		t.Errorf("without history: %q", got)
	}
	if got := b.post("lm-local", "/v2/api/chat/reset", `{"characterId":"`+wan+`","userId":"u"}`); string(got.Data) != "true" {
		t.Fatalf("reset: %s", got.Raw)
	}
	before := b.history(wan, "u", "")
	after := b.chat(chatBody(wan, "u", "我叫什么名字?"))
	if strings.Contains(after.text(), "阿青") {
		t.Errorf("after a reset: %q", after.text())
	}
	if after.Context.SessionID == before.List[0].SessionID {
		t.Error("a reset begins a new session")
	}
	if got := b.history(wan, "u", "").Total; got != before.Total+3 {
		t.Errorf("%d rows, want the old %d, an opening line, a question and an answer", got, before.Total)
	}
}

func TestRegenerate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first := b.chat(chatBody(wan, "u", "你有几个闺蜜?"))
	second := b.chat(chatBody(wan, "u", "", `"isRegenerate":true,"queryId":"`+first.Context.ReplyMessageID+`"`))
	if first.text() == second.text() || first.Context.MessageID == second.Context.MessageID {
		t.Errorf("the same answer again: %q", second.text())
	}
	if !second.Context.IsRegenerate || second.Context.ReplyMessageID != first.Context.ReplyMessageID {
		t.Errorf("context: %+v", second.Context)
	}
	h := b.history(wan, "u", "")
	if h.Total != 3 || h.List[2].Content != second.text() || h.List[2].RegenerateTimes != 1 {
		t.Errorf("history: %+v", h.List)
	}
	b.chat(chatBody(wan, "u", "好的", `"answerId":"`+first.Context.MessageID+`"`))
	if h = b.history(wan, "u", ""); h.List[2].Content != first.text() {
		t.Errorf("the chosen answer is not back: %+v", h.List)
	}
	third := b.post("lm-local", "/v2/api/chat/generate", chatBody(wan, "u", "", `"queryId":"`+first.Context.ReplyMessageID+`"`))
	if third.Status != http.StatusOK {
		t.Errorf("generate: %s", third.Raw)
	}
}
