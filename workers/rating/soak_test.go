package rating_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"xinghe/functions/chat/messageapi"
	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/sign"
	"xinghe/shared/xingchen"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/fault"
	emulated "xinghe/testlocal/emulator/xingchen"
)

// ratingFaults strike 10 % of the calls.
var ratingFaults = fault.Set{Seed: 7, Rules: []fault.Rule{
	{Route: "/v2/api/chat/rating", Fault: fault.InternalError, Share: 0.04},
	{Route: "/v2/api/chat/rating", Fault: fault.Unavailable, Share: 0.02},
	{Route: "/v2/api/chat/rating", Fault: fault.ThrottleBare, Share: 0.02},
	{Route: "/v2/api/chat/rating", Fault: fault.Refuse, Share: 0.01},
	{Route: "/v2/api/chat/rating", Fault: fault.MalformedJSON, Share: 0.01}, // after it took effect
}}

// soak is an upstream, a front door that takes ratings, and what must come of them.
type soak struct {
	t        *testing.T
	messages int
	upstream *httptest.Server
	front    http.Handler
	client   *xingchen.Client

	ids  []string
	sent map[string]sent // by job

	mu    sync.Mutex
	seen  map[string]place // the latest rating of a message that upstream was sent
	calls int
	busy  map[string]bool // messages that are being rated
}

// sent is one job as the caller knows it.
type sent struct {
	number int // of the job, in the order of acceptance
	rows   []wireRow
}

type wireRow struct {
	MessageID string `json:"messageId"`
	Rating    int    `json:"rating"`
	Info      string `json:"info"` // names the row, for upstream to check
}

// place is a row among all that are sent.
type place struct{ Job, Row int }

func (p place) compare(other place) int {
	return cmp.Or(cmp.Compare(p.Job, other.Job), cmp.Compare(p.Row, other.Row))
}

func newSoak(t *testing.T, q *queue.Queue, messages int) *soak {
	t.Helper()
	s := &soak{t: t, messages: messages, sent: map[string]sent{}, seen: map[string]place{}, busy: map[string]bool{}}
	from := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	history := &emulated.History{Characters: 1, Users: 1, Messages: messages, From: from, To: from.AddDate(0, 1, 0)}
	emu, err := emulator.New(emulator.Config{Pace: emulator.NoPace, RequestLog: -1, History: history, Faults: ratingFaults})
	if err != nil {
		t.Fatal(err)
	}
	s.upstream = httptest.NewServer(s.watch(emu))
	t.Cleanup(func() {
		s.upstream.Close()
		if err := emu.Close(); err != nil {
			t.Error(err)
		}
	})
	s.client = newClient(t, s.upstream.URL)
	keys, err := httpapi.ParseKeys("soak")
	if err != nil {
		t.Fatal(err)
	}
	api, err := messageapi.New(messageapi.Config{Queue: q, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	if s.front, err = httpapi.New(httpapi.Config{Keys: keys}, api.Routes()...); err != nil {
		t.Fatal(err)
	}
	for _, message := range s.history(history) {
		s.ids = append(s.ids, message.MessageID)
	}
	return s
}

func newClient(tb testing.TB, address string) *xingchen.Client {
	tb.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	tb.Cleanup(transport.CloseIdleConnections)
	client, err := xingchen.New(xingchen.Config{BaseURL: address, APIKey: sign.NewSecret(emulator.DefaultXingchenKey), Transport: transport})
	if err != nil {
		tb.Fatal(err)
	}
	return client
}

// watch sees to it that no message is rated twice at a time, nor with an older rating after
// a newer one.
func (s *soak) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/api/chat/rating" {
			next.ServeHTTP(w, r)
			return
		}
		var row wireRow
		var at place
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // a worker was killed
		}
		_, scanErr := fmt.Sscanf(decode(s.t, body, &row).Info, "%d/%d", &at.Job, &at.Row)
		if scanErr != nil {
			s.t.Errorf("upstream got %s", body)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		s.mu.Lock()
		s.calls++
		if last, ok := s.seen[row.MessageID]; ok && at.compare(last) < 0 {
			s.t.Errorf("%s: %v was sent after %v", row.MessageID, at, last)
		}
		if s.busy[row.MessageID] {
			s.t.Errorf("%s: %v was sent while another call was under way", row.MessageID, at)
		}
		s.seen[row.MessageID], s.busy[row.MessageID] = at, true
		s.mu.Unlock()
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.busy, row.MessageID)
		}()
		next.ServeHTTP(w, r)
	})
}

func decode[T any](t *testing.T, text []byte, into *T) *T {
	t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		t.Errorf("decode %.200s: %v", text, err)
	}
	return into
}

// history reads all messages with their ratings.
func (s *soak) history(h *emulated.History) []xingchen.HistoryMessage {
	s.t.Helper()
	var all []xingchen.HistoryMessage
	for page := 1; len(all) < s.messages; page++ {
		answer, err := s.client.Histories(s.t.Context(), xingchen.HistoryQuery{
			Where:   xingchen.HistoryWhere{CharacterID: h.CharacterIDs(1)[0], BizUserID: h.UserID(0)},
			OrderBy: []string{"gmtCreate asc"}, PageNum: page, PageSize: 50,
		})
		if err != nil || len(answer.List) == 0 {
			s.t.Fatalf("history, page %d: %d rows, %v", page, len(answer.List), err)
		}
		all = append(all, answer.List...)
	}
	return all
}

// call makes a request of the front door.
func (s *soak) call(method, path string, body []byte) []byte {
	s.t.Helper()
	req := httptest.NewRequestWithContext(s.t.Context(), method, path, bytes.NewReader(body))
	req.Header.Set("Authorization", "Bearer soak")
	w := httptest.NewRecorder()
	s.front.ServeHTTP(w, req)
	if w.Code >= http.StatusBadRequest {
		s.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return w.Body.Bytes()
}

// send posts one job of random ratings and returns how long that took.
func (s *soak) send(rows int, chance *rand.Rand) time.Duration {
	s.t.Helper()
	job := sent{number: len(s.sent)}
	for i := range rows {
		job.rows = append(job.rows, wireRow{
			MessageID: s.ids[chance.IntN(len(s.ids))], Rating: chance.IntN(7) - 1, Info: fmt.Sprintf("%d/%d", job.number, i),
		})
	}
	body, err := json.Marshal(job.rows)
	if err != nil {
		s.t.Fatal(err)
	}
	var answer struct {
		ID       string
		Accepted int
	}
	began := time.Now()
	decode(s.t, s.call(http.MethodPost, "/v1/ratings", body), &answer)
	took := time.Since(began)
	if answer.Accepted != rows {
		s.t.Fatalf("%d of %d rows were accepted", answer.Accepted, rows)
	}
	s.sent[answer.ID] = job
	return took
}

// await waits for the end of all jobs.
func (s *soak) await(ctx context.Context) {
	s.t.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for id := range s.sent {
		for {
			var state jobs.RatingState
			decode(s.t, s.call(http.MethodGet, "/v1/ratings/"+id, nil), &state)
			if state.State == jobs.StateDone {
				break
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				s.t.Fatalf("not done: %+v", state)
			}
		}
	}
}

// outcome is a line of a job's results.
type outcome struct {
	wireRow
	Row     int
	Outcome string
	By      *jobs.RatingRef
}

// check holds what was sent against the results and against what upstream has in the end.
func (s *soak) check() {
	s.t.Helper()
	final := map[string]place{}
	for _, job := range s.sent {
		for i, row := range job.rows {
			at := place{job.number, i}
			if last, ok := final[row.MessageID]; !ok || at.compare(last) > 0 {
				final[row.MessageID] = at
			}
		}
	}
	counts, outcomes := map[string]int{}, map[place]string{}
	for id, job := range s.sent {
		lines := slices.Collect(bytes.Lines(s.call(http.MethodGet, "/v1/ratings/"+id+"/results", nil)))
		if len(lines) != len(job.rows) {
			s.t.Fatalf("%d results of %d rows", len(lines), len(job.rows))
		}
		for i, line := range lines {
			got := decode(s.t, line, new(outcome))
			counts[got.Outcome]++
			outcomes[place{job.number, i}] = got.Outcome
			if err := s.judge(job, i, *got); err != nil {
				s.t.Errorf("job %d row %d: %v", job.number, i, err)
			}
		}
	}
	byPlace := map[place]wireRow{}
	for _, job := range s.sent {
		for i, row := range job.rows {
			byPlace[place{job.number, i}] = row
		}
	}
	history := &emulated.History{Characters: 1, Users: 1, Messages: s.messages}
	for _, message := range s.history(history) {
		last, rated := final[message.MessageID]
		switch {
		case !rated && message.Rating == nil:
		case !rated || message.Rating == nil || int(*message.Rating) != byPlace[last].Rating:
			s.t.Errorf("%s: rated %v at upstream, sent last: %v", message.MessageID, message.Rating, byPlace[last])
		case outcomes[last] != jobs.RatingApplied:
			s.t.Errorf("%s: the last rating, %v, is %s", message.MessageID, last, outcomes[last])
		}
	}
	s.t.Logf("%d messages, outcomes %v, %d calls of upstream", len(final), counts, s.calls)
}

// judge reports what is wrong with a row's result.
func (s *soak) judge(job sent, i int, got outcome) error {
	row := job.rows[i]
	if got.Row != i || got.MessageID != row.MessageID || got.Rating != row.Rating {
		return fmt.Errorf("sent %+v, the result is of %+v", row, got)
	}
	switch {
	case got.Outcome == jobs.RatingApplied && got.By == nil:
		return nil
	case got.Outcome != jobs.RatingSuperseded || got.By == nil:
		return fmt.Errorf("ended as %+v", got)
	}
	by := s.sent[got.By.ID]
	if got.By.Row >= len(by.rows) || by.rows[got.By.Row].MessageID != row.MessageID ||
		(place{by.number, got.By.Row}).compare(place{job.number, i}) <= 0 {
		return fmt.Errorf("superseded by %v, which is no later rating of the message", got.By)
	}
	return nil
}
