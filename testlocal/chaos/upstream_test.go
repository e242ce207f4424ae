package chaos

import (
	"cmp"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"xinghe/shared/jobs"
	"xinghe/shared/sign"
	"xinghe/shared/xingchen"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/fault"
	history "xinghe/testlocal/emulator/xingchen"
)

const routeHistories = "/v2/api/chat/message/histories"

// day is when the messages were written.
var day = time.Date(2024, 1, 15, 0, 0, 0, 0, time.UTC)

// tied is a history of which about ten messages of a user share each millisecond.
func tied(messages, users int) history.History {
	return history.History{Characters: 1, Users: users, Messages: messages, From: day, To: day.Add(time.Duration(messages/users/10) * time.Millisecond)}
}

// specOf is the spec of all that a history holds.
func specOf(h history.History, name string) jobs.ExportSpec {
	spec := jobs.ExportSpec{Name: name, Characters: h.CharacterIDs(0), From: h.From, To: h.To}
	for i := range h.Users {
		spec.Users = append(spec.Users, h.UserID(i))
	}
	return spec
}

// step is something that happens when as many requests for histories have come.
type step struct {
	at int
	do func()
}

// upstream is the emulator with a large history. While a step is taken, requests wait.
type upstream struct {
	*emulator.Emulator
	url string

	mu    sync.Mutex
	count int
	steps []step // ahead, the next one first
}

func startUpstream(tb testing.TB, h history.History) *upstream {
	tb.Helper()
	return startPaced(tb, h, emulator.NoPace)
}

// startPaced starts an upstream that takes its time between the frames of a chat.
func startPaced(tb testing.TB, h history.History, pace time.Duration) *upstream {
	tb.Helper()
	emu, err := emulator.New(emulator.Config{History: &h, RequestLog: 100_000, Pace: pace})
	if err != nil {
		tb.Fatal(err)
	}
	u := &upstream{Emulator: emu}
	server := httptest.NewServer(u)
	u.url = server.URL
	tb.Cleanup(func() {
		server.Close()
		_ = emu.Close()
	})
	return u
}

// plan says what is to happen.
func (u *upstream) plan(steps []step) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.steps = slices.SortedStableFunc(slices.Values(steps), func(a, b step) int { return cmp.Compare(a.at, b.at) })
}

// left is how many steps were not taken.
func (u *upstream) left() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.steps)
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == routeHistories {
		u.arrive()
	}
	u.Emulator.ServeHTTP(w, r)
}

func (u *upstream) arrive() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for u.count++; len(u.steps) > 0 && u.steps[0].at <= u.count; u.steps = u.steps[1:] {
		u.steps[0].do()
	}
}

// dial is a client of upstream, or of a function that speaks like it.
func dial(tb testing.TB, url, key string) *xingchen.Client {
	tb.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	tb.Cleanup(transport.CloseIdleConnections)
	client, err := xingchen.New(xingchen.Config{BaseURL: url, APIKey: sign.NewSecret(key), Transport: transport})
	if err != nil {
		tb.Fatal(err)
	}
	return client
}

// generated is the content of each message of a history by its messageId. It is paged
// through plainly, while nothing is wrong with upstream.
func generated(tb testing.TB, h history.History) map[string]string {
	tb.Helper()
	client := dial(tb, startUpstream(tb, h).url, emulator.DefaultXingchenKey)
	contents := make(map[string]string, h.Messages)
	for i := range h.Users {
		for number := 1; ; number++ {
			page, err := client.Histories(tb.Context(), xingchen.HistoryQuery{
				Where:   xingchen.HistoryWhere{CharacterID: h.CharacterIDs(0)[0], BizUserID: h.UserID(i)},
				OrderBy: []string{"gmtCreate asc"}, PageNum: number, PageSize: 50,
			})
			if err != nil {
				tb.Fatal(err)
			}
			for _, m := range page.List {
				contents[m.MessageID] = m.Content
			}
			if len(page.List) < 50 {
				break
			}
		}
	}
	if len(contents) != h.Messages {
		tb.Fatalf("%d messages are generated, not %d", len(contents), h.Messages)
	}
	return contents
}

// errorsOf strike the given share of requests.
func errorsOf(share float64) []fault.Rule {
	if share == 0 {
		return nil // a rule that names no share strikes always
	}
	rules := []fault.Rule{
		{Fault: fault.InternalError, Share: 0.4 * share},
		{Fault: fault.Unavailable, Share: 0.3 * share},
		{Fault: fault.Refuse, Share: 0.2 * share},
		{Fault: fault.HalfClose, Share: 0.1 * share},
	}
	for i := range rules {
		rules[i].Route = routeHistories
	}
	return rules
}
