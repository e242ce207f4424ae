package desk_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"xinghe/shared/beebot"
	"xinghe/shared/budget"
	"xinghe/shared/desk"
	"xinghe/shared/events"
	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/relay"
	"xinghe/shared/turn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ear hears events.
type ear struct {
	mu    sync.Mutex
	heard []string // types, and the words in them
}

func (e *ear) PublishEvent(_ context.Context, subject, _ string, data []byte) error {
	var event jobs.Event
	var chat jobs.ChatEvent
	if err := errors.Join(json.Unmarshal(data, &event), json.Unmarshal(event.Data, &chat)); err != nil {
		return err
	}
	told := []string{strings.TrimPrefix(subject, jobs.EventPrefix), chat.Bot, chat.UserID, chat.Question + chat.Text}
	if chat.Error != nil {
		told = append(told, chat.Error.Code)
	}
	if chat.Handover != nil {
		told = append(told, chat.Handover.SkillGroup)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard = append(e.heard, strings.Join(told, " "))
	return nil
}

// TestServeTellsWhatBecameOfIt looks at the events of conversations that end in all ways.
func TestServeTellsWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	down := &httpapi.Error{Status: http.StatusBadGateway, Code: httpapi.CodeUpstreamDown}
	for name, tc := range map[string]struct {
		outcome relay.Outcome
		err     error
		text    bool
		want    []string
	}{
		"well":           {want: []string{"chat.completed b u "}},
		"with its words": {outcome: relay.Outcome{Text: "!"}, text: true, want: []string{"chat.completed b u ?!"}},
		"handed over":    {outcome: relay.Outcome{Handover: &beebot.Handover{SkillGroup: "12"}}, want: []string{"chat.completed b u ", "handover.requested b u  12"}},
		"no answer":      {outcome: relay.Outcome{NoAnswer: true}, want: []string{"chat.completed b u ", "answer.missing b u "}},
		"sensitive":      {outcome: relay.Outcome{Sensitive: true}, want: []string{"chat.completed b u ", "answer.sensitive b u "}},
		"badly":          {err: down, outcome: relay.Outcome{NoAnswer: true}, want: []string{"chat.failed b u  upstream_unavailable"}},
		"left":           {err: context.Canceled, want: []string{"chat.failed b u  canceled"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			heard := new(ear)
			publisher, err := events.New(events.Config{Queue: heard, Source: "/xinghe/test", Buffer: 8})
			if err != nil {
				t.Fatal(err)
			}
			d := desk.Desk{Upstream: "x", Turns: turn.New(turn.Config{}), Events: publisher, EventText: tc.text, Now: time.Now}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", http.NoBody)
			err = d.Serve(r, &desk.Conversation{Bot: "b", User: "u", Question: "?"}, func(o *relay.Outcome) error {
				*o = tc.outcome
				return tc.err
			})
			if !errors.Is(err, tc.err) {
				t.Errorf("%v, want %v", err, tc.err)
			}
			publisher.Close()
			slices.Sort(tc.want)
			slices.Sort(heard.heard)
			if diff := cmp.Diff(tc.want, heard.heard); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestRefusals holds that nobody is asked out of turn, or beyond the budget.
// TestPanicEndsTheTurn holds that a user is not locked out by a fault of ours.
func TestPanicEndsTheTurn(t *testing.T) {
	t.Parallel()
	d := desk.Desk{Upstream: "x", Turns: turn.New(turn.Config{Waiting: -1}), Now: time.Now}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", http.NoBody)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is hidden")
			}
		}()
		_ = d.Serve(r, &desk.Conversation{User: "u"}, func(*relay.Outcome) error { panic("ours") })
	}()
	if err := d.Serve(r, &desk.Conversation{User: "u"}, func(*relay.Outcome) error { return nil }); err != nil {
		t.Errorf("the next conversation: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	share, err := budget.New(budget.Config{Rate: 0.001, Burst: 1, MaxWait: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	d := desk.Desk{Upstream: "x", Turns: turn.New(turn.Config{Waiting: -1}), Budget: share, Now: time.Now}
	serve := func(user string, answer func(*relay.Outcome) error) error {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", http.NoBody)
		return d.Serve(r, &desk.Conversation{User: user}, answer)
	}
	status := func(err error) int { return httpapi.AsError(err).Status }
	err = serve("u", func(*relay.Outcome) error {
		if err := serve("u", nil); status(err) != http.StatusConflict || httpapi.AsError(err).RetryAfter <= 0 {
			t.Errorf("the user's second conversation: %v", err)
		}
		if err := serve("v", nil); status(err) != http.StatusTooManyRequests || httpapi.AsError(err).RetryAfter <= 0 {
			t.Errorf("beyond the budget: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Spend(t.Context()); status(err) != http.StatusTooManyRequests {
		t.Errorf("Spend: %v", err)
	}
}
