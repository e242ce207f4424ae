package xingchentest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"xinghe/shared/xingchen"
)

const (
	oldestFirst = "gmtCreate asc"
	newestFirst = "gmtCreate desc"
)

// pollEvery is how often a history that may lag is asked again.
const pollEvery = 200 * time.Millisecond

// mostPages ends a history that never does.
const mostPages = 200

// talk is a conversation that was held to be read again.
type talk struct {
	user      string
	exchanges []exchange
	err       error
}

type exchange struct {
	question string
	answer   said
}

// conversation holds one exchange in each form, once a run.
func (s *session) conversation(ctx context.Context) (*talk, error) {
	if s.talk != nil {
		return s.talk, s.talk.err
	}
	s.talk = &talk{user: "talk"}
	for i, f := range []form{whole, cumulative, incremental} {
		text := fmt.Sprintf("第%d问:%s", i+1, question)
		answer, err := s.ask(ctx, s.request(s.talk.user, text, f), f)
		if err != nil {
			s.talk.err = fmt.Errorf("hold a conversation: question %d: %w", i+1, err)
			break
		}
		s.talk.exchanges = append(s.talk.exchanges, exchange{question: text, answer: answer})
	}
	return s.talk, s.talk.err
}

func (s *session) where(user string) xingchen.HistoryWhere {
	return xingchen.HistoryWhere{CharacterID: s.CharacterID, BizUserID: s.user(user)}
}

// settled reads a history again until it has what is looked for or may lag no longer.
func (s *session) settled(ctx context.Context, user string, enough func([]xingchen.HistoryMessage) bool) ([]xingchen.HistoryMessage, error) {
	again := time.NewTicker(pollEvery)
	defer again.Stop()
	for deadline := time.Now().Add(s.Lag); ; {
		rows, err := s.pages(ctx, xingchen.HistoryQuery{Where: s.where(user), OrderBy: []string{oldestFirst}, PageSize: 50})
		if err != nil || enough(rows) || time.Now().After(deadline) {
			return rows, err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("read history: %w", ctx.Err())
		}
	}
}

// pages reads a history to its end and checks that its pages fit together: a total that
// holds, every row once, sorted as asked for.
func (s *session) pages(ctx context.Context, query xingchen.HistoryQuery) ([]xingchen.HistoryMessage, error) {
	var (
		found findings
		rows  []xingchen.HistoryMessage
		total int
	)
	seen := make(map[string]bool)
	for query.PageNum = 1; query.PageNum <= mostPages; query.PageNum++ {
		page, err := s.Client.Histories(ctx, query)
		if err != nil {
			return nil, fmt.Errorf("histories, page %d: %w", query.PageNum, err)
		}
		if query.PageNum == 1 {
			total = page.Total
		}
		found.expect(page.Total == total, "page %d: total %d, on page 1 it was %d", query.PageNum, page.Total, total)
		found.expect(len(page.List) <= query.PageSize, "page %d: %d rows, asked for %d", query.PageNum, len(page.List), query.PageSize)
		for _, row := range page.List {
			found.expect(row.MessageID != "" && !seen[row.MessageID], "page %d: message %q came twice, or has no id", query.PageNum, row.MessageID)
			seen[row.MessageID] = true
		}
		rows = append(rows, page.List...)
		if len(page.List) == 0 || len(rows) >= total {
			break
		}
	}
	found.expect(len(rows) == total, "%d rows on all pages, total says %d", len(rows), total)
	sorted := slices.IsSortedFunc(rows, func(a, b xingchen.HistoryMessage) int {
		if !slices.Contains(query.OrderBy, oldestFirst) {
			a, b = b, a
		}
		return int(a.GmtCreate - b.GmtCreate)
	})
	found.expect(sorted, "rows are not in the order %v", query.OrderBy)
	return rows, found.err()
}

func rowOf(rows []xingchen.HistoryMessage, id string) (xingchen.HistoryMessage, bool) {
	i := slices.IndexFunc(rows, func(row xingchen.HistoryMessage) bool { return row.MessageID == id })
	if i < 0 {
		return xingchen.HistoryMessage{}, false
	}
	return rows[i], true
}

func rowSaying(rows []xingchen.HistoryMessage, text string) (xingchen.HistoryMessage, bool) {
	i := slices.IndexFunc(rows, func(row xingchen.HistoryMessage) bool { return row.Content == text })
	if i < 0 {
		return xingchen.HistoryMessage{}, false
	}
	return rows[i], true
}

// holds reports whether the history has every exchange of a conversation.
func (t *talk) holds(rows []xingchen.HistoryMessage) bool {
	for _, e := range t.exchanges {
		if _, ok := rowOf(rows, e.answer.result.Context.Answer()); !ok {
			return false
		}
	}
	return true
}

func keepsTheConversation(ctx context.Context, s *session) error {
	held, err := s.conversation(ctx)
	if err != nil {
		return err
	}
	rows, err := s.settled(ctx, held.user, held.holds)
	if err != nil {
		return err
	}
	var found findings
	for _, e := range held.exchanges {
		found.expect(e.answer.result.Context.IsSave, "context of the answer to %q: isSave is false for a platform character", e.question)
		found.exchange(e, rows, s.CharacterID)
	}
	return found.err()
}

func (f *findings) exchange(e exchange, rows []xingchen.HistoryMessage, characterID string) {
	asked, ok := rowSaying(rows, e.question)
	f.expect(ok, "history: no row says %q", e.question)
	if ok {
		f.expect(asked.MessageType == "user", "history: type %q of a question, want user", asked.MessageType)
		f.expect(asked.MessageIssuer.UserType == "user", "history: issuer type %q of a question, want user", asked.MessageIssuer.UserType)
	}
	id := e.answer.result.Context.Answer()
	answered, ok := rowOf(rows, id)
	f.expect(ok, "history: no row has the id %q of an answer", id)
	if !ok {
		return
	}
	f.expect(answered.Content == e.answer.text, "history: answer %q, the caller got %q", answered.Content, e.answer.text)
	f.expect(answered.MessageType == "character", "history: type %q of an answer, want character", answered.MessageType)
	f.expect(answered.MessageIssuer.UserType == "character" && answered.MessageIssuer.UserID == characterID,
		"history: issuer %+v of an answer, want the character", answered.MessageIssuer)
	f.expect(answered.ChatID != "" && answered.ChatID == asked.ChatID, "history: chatId %q of an answer, its question has %q", answered.ChatID, asked.ChatID)
}

func pagesTheHistory(ctx context.Context, s *session) error {
	held, err := s.conversation(ctx)
	if err != nil {
		return err
	}
	all, err := s.settled(ctx, held.user, held.holds)
	if err != nil {
		return err
	}
	var found findings
	for _, order := range [][]string{{oldestFirst}, {newestFirst}, nil} {
		for _, size := range []int{2, 3} {
			rows, err := s.pages(ctx, xingchen.HistoryQuery{Where: s.where(held.user), OrderBy: order, PageSize: size})
			found.expect(err == nil, "order %v, %d a page: %w", order, size, orNone(err))
			found.expect(err != nil || sameIDs(rows, all), "order %v, %d a page: not the rows that a single page holds", order, size)
		}
	}
	return found.err()
}

func sameIDs(a, b []xingchen.HistoryMessage) bool {
	return slices.Equal(sortedIDs(a), sortedIDs(b))
}

func sortedIDs(rows []xingchen.HistoryMessage) []string {
	ids := make([]string, 0, len(rows))
	for _, row := range rows {
		ids = append(ids, row.MessageID)
	}
	slices.Sort(ids)
	return ids
}

func narrowsTheHistoryByTime(ctx context.Context, s *session) error {
	held, err := s.conversation(ctx)
	if err != nil {
		return err
	}
	all, err := s.settled(ctx, held.user, held.holds)
	if err != nil {
		return err
	}
	var times []xingchen.Millis
	for _, row := range all {
		times = append(times, row.GmtCreate)
	}
	times = slices.Compact(times)
	if len(times) < 3 {
		return skipped("the rows of the conversation have fewer than three different times")
	}
	from, to := times[1], times[len(times)-2]
	return errors.Join(
		s.window(ctx, held.user, all, from, 0),
		s.window(ctx, held.user, all, 0, to),
		s.window(ctx, held.user, all, from, to),
	)
}

// window reads a part of the history. Rows exactly on a bound may be there or not: the
// documents do not say.
func (s *session) window(ctx context.Context, user string, all []xingchen.HistoryMessage, from, to xingchen.Millis) error {
	where := s.where(user)
	where.StartTime, where.EndTime = from, to
	rows, err := s.pages(ctx, xingchen.HistoryQuery{Where: where, OrderBy: []string{oldestFirst}, PageSize: 50})
	if err != nil {
		return fmt.Errorf("window %d to %d: %w", from, to, err)
	}
	var found findings
	for _, row := range all {
		_, shown := rowOf(rows, row.MessageID)
		inside := (from == 0 || row.GmtCreate > from) && (to == 0 || row.GmtCreate < to)
		outside := from != 0 && row.GmtCreate < from || to != 0 && row.GmtCreate > to
		found.expect(shown || !inside, "window %d to %d: a row of %d is missing", from, to, row.GmtCreate)
		found.expect(!shown || !outside, "window %d to %d: a row of %d is there", from, to, row.GmtCreate)
	}
	return found.err()
}

func keepsARating(ctx context.Context, s *session) error {
	held, err := s.conversation(ctx)
	if err != nil {
		return err
	}
	if _, err := s.settled(ctx, held.user, held.holds); err != nil {
		return err
	}
	id := held.exchanges[0].answer.result.Context.Answer()
	if err := s.Client.Rate(ctx, xingchen.RatingRequest{MessageID: id, Rating: 5}); err != nil {
		return fmt.Errorf("rate: %w", err)
	}
	rated := func(rows []xingchen.HistoryMessage) bool {
		row, _ := rowOf(rows, id)
		return row.Rating != nil
	}
	rows, err := s.settled(ctx, held.user, rated)
	if err != nil {
		return err
	}
	var found findings
	row, _ := rowOf(rows, id)
	found.expect(row.Rating != nil && *row.Rating == 5, "the row of the rated answer does not carry the rating 5")
	return found.err()
}

func keepsAReminder(ctx context.Context, s *session) error {
	const user, text = "reminder", "最近为什么不理我啊?"
	// A room to be reminded in begins with a chat.
	if _, err := s.ask(ctx, s.request(user, question, whole), whole); err != nil {
		return err
	}
	err := s.Client.Remind(ctx, xingchen.ReminderRequest{CharacterID: s.CharacterID, BizUserID: s.user(user), Content: text})
	if err != nil {
		return fmt.Errorf("remind: %w", err)
	}
	rows, err := s.settled(ctx, user, func(rows []xingchen.HistoryMessage) bool {
		_, ok := rowSaying(rows, text)
		return ok
	})
	if err != nil {
		return err
	}
	var found findings
	_, ok := rowSaying(rows, text)
	found.expect(ok, "history: no row says what the reminder said")
	return found.err()
}

// chatsOnAfterAReset does not look at the history: whether a reset empties it is not said.
func chatsOnAfterAReset(ctx context.Context, s *session) error {
	const user = "reset"
	if _, err := s.ask(ctx, s.request(user, question, whole), whole); err != nil {
		return err
	}
	if err := s.Client.Reset(ctx, xingchen.ResetRequest{CharacterID: s.CharacterID, UserID: s.user(user)}); err != nil {
		return fmt.Errorf("reset: %w", err)
	}
	_, err := s.ask(ctx, s.request(user, question, whole), whole)
	return err
}
