package runtimes

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"xinghe/shared/faas"
	"xinghe/shared/sse"
)

// A case does something to the probe behind an entry and says in a few words what came of
// it. The expected words stand in the table; a case may look at them to know how long it has
// to wait for something that will not come.

// echo sends a body and says whether it comes back.
func echo(kind string, body []byte) func(*host, string) string {
	return func(h *host, _ string) string {
		r := h.request(http.MethodPost, "/echo", body)
		r.Header.Set("Content-Type", kind)
		got := h.do(r)
		if got.cut || got.status != http.StatusOK || got.body != string(body) || got.header.Get("Content-Type") != kind {
			return fmt.Sprintf("%d %s, %d bytes of %d, cut %t", got.status, got.header.Get("Content-Type"), len(got.body), len(body), got.cut)
		}
		return "as sent"
	}
}

// noise is a body that is no text.
func noise(size int) []byte {
	var body []byte
	for block := []byte("noise"); len(body) < size; {
		sum := sha256.Sum256(block)
		block = sum[:]
		body = append(body, block...)
	}
	return body[:size]
}

// seen is what the probe saw of a request.
type seen struct {
	Cookies []string
	Header  http.Header
	URI     string
}

func (h *host) headers(set http.Header) (seen, http.Header) {
	h.Helper()
	r := h.request(http.MethodGet, "/headers?q=a%20b&q=c", nil)
	r.Header = set
	got := h.do(r)
	return decode[seen](h.T, got.body), got.header
}

func cookies(h *host, _ string) string {
	got, answer := h.headers(http.Header{"Cookie": {"x=1; y=2"}})
	return fmt.Sprintf("%d in, %d out", len(got.Cookies), len(answer.Values("Set-Cookie")))
}

func repeated(h *host, _ string) string {
	got, answer := h.headers(http.Header{"X-Many": {"1", "2"}})
	form := func(values []string) string {
		switch text := strings.ReplaceAll(strings.Join(values, "|"), " ", ""); text {
		case "1|2":
			return "apart"
		case "1,2":
			return "joined"
		default:
			return text
		}
	}
	in, out := form(got.Header.Values("X-Many")), form(answer.Values("X-Many"))
	if in == out {
		return in
	}
	return in + " in, " + out + " out"
}

// cadence has the probe ask the gate after each event: it is let go on when the event is
// here, or, where none comes before the end, after a while.
func cadence(h *host, want string) string {
	g := h.gate()
	const count = 4
	came := make(chan string, count)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		resp, err := h.client.Do(h.request(http.MethodGet, fmt.Sprintf("/stream?n=%d", count), nil))
		if err != nil {
			h.Error(err)
			return
		}
		defer resp.Body.Close()
		for event, err := range sse.NewReader(resp.Body, sse.ReaderConfig{}).Events() {
			if err != nil {
				h.Error(err)
				return
			}
			came <- string(event.Data)
		}
	}()
	wait := patience
	if !strings.HasPrefix(want, "as") {
		wait = 200 * time.Millisecond
	}
	apart := 0
	for i := range count {
		g.await(fmt.Sprintf("sent-%d", i))
		late := time.NewTimer(wait)
		select {
		case <-came:
			apart++
		case <-late.C:
			wait = time.Millisecond // the others will not come either
		}
		late.Stop()
		g.open(fmt.Sprintf("sent-%d", i))
	}
	<-ended
	switch {
	case apart == count:
		return "as it is written"
	case apart == 0 && len(came) == count:
		return "whole, at the end"
	}
	return fmt.Sprintf("%d apart, %d at the end", apart, len(came))
}

func handlerError(h *host, _ string) string {
	got := h.get("/fail")
	return fmt.Sprintf("%d, %s", got.status, strings.TrimSpace(got.body))
}

// eventError is an event whose work fails.
func eventError(h *host, _ string) string {
	if h.fn == nil {
		return "takes none"
	}
	result, err := h.fn.Invoke(h.Context(), Event{Payload: Timer("t", time.Now(), `{"do":"fail"}`)})
	if err != nil {
		h.Fatal(err)
	}
	if h.entry == faas.EntryLambdaURL || h.entry == faas.EntryLambdaEvent {
		result, err = h.fn.Invoke(h.Context(), Event{Payload: []byte(`{"do":"fail"}`)})
	}
	if err != nil || result.ErrorType == "" {
		return fmt.Sprintf("counted as done: %s %v", result.Payload, err)
	}
	return "counted as failed"
}

// afterwards says whether the same program goes on after what it was done to.
func (h *host) afterwards(before []*process) string {
	h.Helper()
	if got := echo("text/plain", []byte("still there"))(h, ""); got != "as sent" {
		return "then " + got
	}
	// Beside it there may be another: the next call may come before the program is ready for it.
	after := h.processes()
	for _, p := range before {
		if !slices.Contains(after, p) || !p.alive() {
			return "is replaced"
		}
	}
	return "runs on"
}

func (h *host) warm() []*process {
	h.Helper()
	if got := echo("text/plain", []byte("warm"))(h, ""); got != "as sent" {
		h.Fatal(got)
	}
	return h.processes()
}

func earlyPanic(h *host, _ string) string {
	before := h.warm()
	got, err := h.try(h.request(http.MethodGet, "/panic", nil))
	if err != nil {
		return "cut, " + h.afterwards(before)
	}
	return fmt.Sprintf("%d, %s", got.status, h.afterwards(before))
}

func latePanic(h *host, _ string) string {
	before := h.warm()
	h.gate().open("sent-0")
	got := h.get("/panic-late")
	how := "whole"
	switch {
	case got.cut:
		how = "cut"
	case got.status != http.StatusOK:
		how = fmt.Sprint(got.status)
	case got.body == "data: 0\n\n":
		how = "ends early"
	}
	if h.fn != nil {
		until(h, "the call is noted", func() bool { return h.noted() > 1 })
		if h.failures() == "" {
			how += ", taken for well"
		} else {
			how += ", platform told"
		}
	}
	return how + ", " + h.afterwards(before)
}

// noted is how many calls the platform has noted.
func (h *host) noted() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.reports)
}

// heeded is a call that watches its context.
func heeded(h *host, want string) string {
	if want == "no limit" {
		return h.unlimited("/wait", "waiting")
	}
	got := h.get("/wait")
	if got.cut || got.status != http.StatusOK || !strings.Contains(got.body, "deadline") {
		return fmt.Sprintf("%d %q, cut %t", got.status, got.body, got.cut)
	}
	return "told before"
}

// unlimited is a call that is let go after a while that means nothing.
func (h *host) unlimited(path, point string) string {
	g := h.gate()
	go func() {
		g.await(point)
		g.open(point)
	}()
	if got := h.get(path); got.cut || got.status != http.StatusOK {
		return fmt.Sprintf("%d, cut %t", got.status, got.cut)
	}
	return "no limit"
}

// ignored is a call that does not watch its context.
func ignored(h *host, want string) string {
	if want == "no limit" {
		return h.unlimited("/stubborn", "stubborn")
	}
	got := h.get("/stubborn")
	if got.cut {
		return "cut"
	}
	return fmt.Sprint(got.status)
}

func disconnect(h *host, want string) string {
	g := h.gate()
	ctx, leave := context.WithCancel(h.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		_, _ = h.try(h.request(http.MethodGet, "/wait", nil).WithContext(ctx))
	}()
	g.await("waiting")
	leave()
	<-left
	if want != "told" {
		g.open("waiting")
	}
	if end := h.ended(g, want == "told"); end != "end: canceled" {
		return "runs to its end"
	}
	return "told"
}

// ended waits for the end of the handler. One that is told hears of it when its instance
// runs: that is frozen as soon as the platform has nothing in flight, until the next call.
func (h *host) ended(g *gate, thaw bool) string {
	h.Helper()
	end := make(chan string, 1)
	go func() { end <- g.await("end: ") }()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		select {
		case word := <-end:
			return word
		case <-again.C:
			if thaw && h.fn != nil {
				h.warm()
			}
		}
	}
}

// crowd is 50 calls, none of which ends before as many as can have come.
func crowd(h *host, want string) string {
	g := h.gate()
	const count = 50
	var most int
	if _, err := fmt.Sscanf(want, "%d at once", &most); err != nil {
		h.Fatal(err)
	}
	if h.fn != nil {
		most = min(count, most*h.fn.cfg.Instances)
	}
	type answer struct {
		PID, Running int
		ID           string
	}
	answers := make(chan answer, count)
	for i := range count {
		go func() {
			var a answer
			got, err := h.try(h.request(http.MethodGet, fmt.Sprintf("/together?id=%d", i), nil))
			if err == nil {
				err = json.Unmarshal([]byte(got.body), &a)
			}
			if err != nil || a.ID != fmt.Sprint(i) {
				h.Errorf("call %d: %v %+v", i, err, a)
			}
			answers <- a
		}()
	}
	for range most {
		g.await("together")
	}
	g.open("together")
	peak := 0
	for range count {
		peak = max(peak, (<-answers).Running)
	}
	return fmt.Sprintf("%d at once", peak)
}

// gates are the gates of hosts; see newProbe.
func (h *host) gate() *gate { return h.probed }

// newProbe runs the probe behind an entry.
func newProbe(t *testing.T, entry string, adapt func(*Config)) *host {
	t.Helper()
	g := newGate(t)
	h := newHost(t, entry, program(t, "probe"), adapt, "PROBE_GATE="+g.url)
	h.probed = g
	return h
}
