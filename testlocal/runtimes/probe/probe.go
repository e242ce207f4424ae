package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/faas"
	"xinghe/shared/httpapi"
)

type probe struct {
	gate    string
	log     zerolog.Logger
	running atomic.Int64 // calls of /together
}

func (p *probe) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", p.echo)
	mux.HandleFunc("GET /headers", p.headers)
	mux.HandleFunc("GET /stream", p.stream)
	mux.HandleFunc("GET /fail", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "failed", http.StatusInternalServerError) })
	mux.HandleFunc("GET /panic", func(http.ResponseWriter, *http.Request) { panic("before the first byte") })
	mux.HandleFunc("GET /panic-late", p.panicLate)
	mux.HandleFunc("GET /wait", p.wait)
	mux.HandleFunc("GET /stubborn", p.stubborn)
	mux.HandleFunc("GET /together", p.together)
	return mux
}

// ask waits until the gate lets the call pass, whatever becomes of the call itself.
func (p *probe) ask(point string) {
	if p.gate == "" {
		return
	}
	resp, err := http.Get(p.gate + "/" + url.PathEscape(point)) //nolint:noctx // nothing but the gate ends it
	if err != nil {
		p.log.Warn().Err(err).Msg("the gate does not answer")
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}

// tell lets the gate know something.
func (p *probe) tell(what string) { p.ask(what) }

func (p *probe) echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
	_, _ = w.Write(body)
}

// headers answers with what the request has, and with repeated headers of its own.
func (p *probe) headers(w http.ResponseWriter, r *http.Request) {
	cookies := []string{}
	for _, cookie := range r.Cookies() {
		cookies = append(cookies, cookie.String())
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header()["X-Many"] = []string{"1", "2"}
	w.Header()["Set-Cookie"] = []string{"a=1; Path=/", "b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT"}
	_ = json.NewEncoder(w).Encode(map[string]any{"cookies": cookies, "header": r.Header, "uri": r.RequestURI})
}

// stream sends events 100 ms apart, and asks the gate after each.
func (p *probe) stream(w http.ResponseWriter, r *http.Request) {
	count, _ := strconv.Atoi(r.URL.Query().Get("n"))
	flush := httpapi.BeginStream(w)
	apart := time.NewTicker(100 * time.Millisecond)
	defer apart.Stop()
	for i := range count {
		if i > 0 {
			<-apart.C
		}
		_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
		_ = flush.FlushError()
		p.ask("sent-" + strconv.Itoa(i))
		if r.Context().Err() != nil {
			_, _ = io.WriteString(w, "event: error\ndata: cut\n\n")
			_ = flush.FlushError()
			return
		}
	}
}

func (p *probe) panicLate(w http.ResponseWriter, _ *http.Request) {
	flush := httpapi.BeginStream(w)
	_, _ = io.WriteString(w, "data: 0\n\n")
	_ = flush.FlushError()
	p.ask("sent-0")
	panic("after the first byte")
}

// wait streams a first event and waits until its context ends, or the gate lets it go.
func (p *probe) wait(w http.ResponseWriter, r *http.Request) {
	flush := httpapi.BeginStream(w)
	_, _ = io.WriteString(w, "data: 0\n\n")
	_ = flush.FlushError()
	let := make(chan struct{})
	go func() {
		defer close(let)
		p.ask("waiting")
	}()
	end := "let go"
	select {
	case <-r.Context().Done():
		end = "canceled"
		if errors.Is(r.Context().Err(), context.DeadlineExceeded) {
			end = "deadline"
		}
	case <-let:
	}
	_, _ = fmt.Fprintf(w, "event: end\ndata: %s\n\n", end)
	_ = flush.FlushError()
	p.tell("end: " + end)
}

// stubborn does not care for its context.
func (p *probe) stubborn(w http.ResponseWriter, _ *http.Request) {
	flush := httpapi.BeginStream(w)
	_, _ = io.WriteString(w, "data: 0\n\n")
	_ = flush.FlushError()
	p.ask("stubborn")
}

// together answers how many calls ran in this process when the gate opened.
func (p *probe) together(w http.ResponseWriter, r *http.Request) {
	p.running.Add(1)
	p.ask("together")
	running := p.running.Load()
	_ = json.NewEncoder(w).Encode(map[string]any{"pid": os.Getpid(), "running": running, "id": r.URL.Query().Get("id")})
	p.running.Add(-1)
}

// event does what an event's payload says and answers what it was.
func (p *probe) event(ctx context.Context, event faas.Event) (json.RawMessage, error) {
	var told struct{ Do string }
	if err := json.Unmarshal(event.Payload, &told); err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	switch told.Do {
	case "fail":
		return nil, errors.New("as it was told")
	case "panic":
		panic("as it was told")
	case "wait":
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return json.Marshal(map[string]any{
		"kind": event.Kind, "name": event.Name, "attempt": event.Attempt, "payload": event.Payload,
	})
}
