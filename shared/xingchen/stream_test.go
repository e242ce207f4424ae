package xingchen_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/sign"
	"xinghe/shared/sse"
	"xinghe/shared/upstream"
	"xinghe/shared/xingchen"
)

func collect(t *testing.T, client *xingchen.Client) (texts []string, last *xingchen.ChatResult, failure error) {
	t.Helper()
	stream, err := client.Stream(t.Context(), chatRequest())
	if err != nil {
		return nil, nil, err
	}
	for frame, err := range stream.Frames() {
		if err != nil {
			return texts, last, err
		}
		texts, last = append(texts, frame.Text()), frame
	}
	return texts, last, nil
}

func TestStreamReadsFrames(t *testing.T) {
	t.Parallel()
	incremental := fixture(t, "assumed-xingchen-stream-incremental.sse")
	cumulative := fixture(t, "assumed-xingchen-stream-cumulative.sse")
	one := decode[[]string](t, fixture(t, "xingchen-stream-incremental.json"))
	all := decode[[]string](t, fixture(t, "xingchen-stream-cumulative.json"))
	for name, test := range map[string]struct {
		body string
		want []string
	}{
		"incremental":              {string(incremental), one},
		"cumulative":               {string(cumulative), all},
		"a space after data:":      {strings.ReplaceAll(string(cumulative), "data:", "data: "), all},
		"CRLF":                     {strings.ReplaceAll(string(cumulative), "\n", "\r\n"), all},
		"ids, comments, success":   {strings.ReplaceAll(string(cumulative), "data:", "id:1\n:beat\nevent:success\ndata:"), all},
		"unknown events dropped":   {"event:ping\ndata:what\n\n" + string(incremental), one},
		"no blank line at the end": {strings.TrimRight(string(incremental), "\n"), one},
		"frames after the last":    {string(incremental) + "data:{\"stop\":false}\n\n", one},
		"an empty closing delta": {
			strings.Replace(string(incremental), `"stop":true`, `"stop":false`, 1) + `data:{"choices":[{"messages":[{"content":""}]}], "stop" : true}` + "\n\n",
			append(slices.Clip(one), ""),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var saw sent
			texts, last, err := collect(t, setup(t, record(&saw, answerSSE(test.body))))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, texts); diff != "" {
				t.Errorf("texts (-want +got):\n%s", diff)
			}
			if !last.Stop {
				t.Error("the last frame has no stop")
			}
			if saw.Service != "aca-chat-send-sse" || saw.SSE != "enable" || saw.Accept != "text/event-stream;charset=UTF-8" {
				t.Errorf("sent %+v", saw)
			}
		})
	}
}

func TestStreamEndsInAnError(t *testing.T) {
	t.Parallel()
	whole := string(fixture(t, "assumed-xingchen-stream-cumulative.sse"))
	first, _, _ := strings.Cut(whole, "\n\n")
	first += "\n\n"
	errorFrame := string(fixture(t, "assumed-xingchen-stream-error.sse"))
	notFound := func(err error) bool {
		e := asError(err)
		return e != nil && e.NotFound() && e.HTTPStatus == 400 && e.Body != nil
	}
	truncated := func(err error) bool { return errors.Is(err, upstream.ErrTruncated) }
	malformed := func(err error) bool {
		_, ok := errors.AsType[*upstream.DecodeError](err)
		return ok && !errors.Is(err, upstream.ErrTruncated)
	}
	for name, test := range map[string]struct {
		body   string
		frames int
		want   func(error) bool
	}{
		"event:error at once":       {errorFrame, 0, notFound},
		"event:error after a frame": {first + errorFrame + first, 1, notFound},
		"errorCode without event":   {first + strings.Replace(errorFrame, "event:error\n", "", 1), 1, notFound},
		"success:false":             {`data:{"success" : false,"code":500}` + "\n\n", 0, func(err error) bool { return asError(err) != nil && asError(err).Retryable() }},
		"an error that says stop:false": {`data:{"requestId":"r","code":429,"success":false,"stop":false}` + "\n\n" + `data:{"choices":[],"stop":true}` + "\n\n", 0, func(err error) bool {
			return asError(err) != nil && asError(err).Kind() == upstream.KindThrottled
		}},
		"an error that says stop:true": {`data:{"choices":[],"code":500,"success":false,"stop":true}` + "\n\n", 0, func(err error) bool { return asError(err) != nil }},
		"an error that is no JSON":     {"event:error\ndata:no\n\n", 0, func(err error) bool { return asError(err) != nil && asError(err).Body == nil }},
		"no frame":                     {"", 0, truncated},
		"no last frame":                {first + first, 2, truncated},
		"half a frame":                 {first + first[:60], 1, truncated},
		"malformed JSON":               {first + "data:{oops}\n\n" + first, 1, malformed},
		"wrong types":                  {`data:{"choices":7}` + "\n\n" + first, 0, malformed},
		"a frame too large": {first + "data:" + strings.Repeat("x", 5000) + "\n\n", 1, func(err error) bool {
			_, ok := errors.AsType[*sse.TooLargeError](err)
			return ok
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := setup(t, answerSSE(test.body), func(cfg *xingchen.Config) { cfg.MaxResponseBytes = 4096 })
			texts, _, err := collect(t, client)
			if len(texts) != test.frames || err == nil || !test.want(err) {
				t.Errorf("after %d frames: %v, want %d", len(texts), err, test.frames)
			}
		})
	}
}

func TestStreamRefusedBeforeItBegins(t *testing.T) {
	t.Parallel()
	body := string(fixture(t, "assumed-xingchen-error-response.json"))
	for name, handler := range map[string]http.HandlerFunc{
		"status 400":       func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(400); answerJSON(body)(w, r) },
		"status 200":       answerJSON(body),
		"an answer in one": answerJSON(string(fixture(t, "xingchen-chat-platform-response.json"))),
		"HTML":             func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"SSE, status 500": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(500)
		},
		"nothing whatever":  func(http.ResponseWriter, *http.Request) {},
		"upstream vanishes": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		stream, err := setup(t, handler).Stream(t.Context(), chatRequest())
		if err == nil {
			_ = stream.Close()
			t.Errorf("%s: no error", name)
			continue
		}
		_, network := errors.AsType[*upstream.NetworkError](err)
		if network != (name == "upstream vanishes") || (asError(err) == nil) != network {
			t.Errorf("%s: got %T %v", name, err, err)
		}
	}
}

func TestStreamCutInTheMiddle(t *testing.T) {
	t.Parallel()
	first, _, _ := strings.Cut(string(fixture(t, "assumed-xingchen-stream-cumulative.sse")), "\n\n")
	client := setup(t, func(w http.ResponseWriter, r *http.Request) {
		answerSSE(first+"\n\ndata:{\"requestId")(w, r)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	texts, _, err := collect(t, client)
	if len(texts) != 1 || !errors.Is(err, upstream.ErrTruncated) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("after %q: %v, want ErrTruncated with its cause", texts, err)
	}
}

func TestStreamCancelled(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	client := setup(t, func(w http.ResponseWriter, r *http.Request) {
		answerSSE("data:{\"stop\":false}\n\n")(w, r)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := client.Stream(ctx, chatRequest())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Next(); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(10*time.Millisecond, cancel)
	_, err = stream.Next()
	if !errors.Is(err, context.Canceled) || errors.Is(err, upstream.ErrTruncated) {
		t.Errorf("%v, want context.Canceled", err)
	}
	if _, again := stream.Next(); !errors.Is(again, err) {
		t.Errorf("then %v, want the same again", again)
	}
	waitFor(t, "upstream to see the disconnect", gone)
}

func TestCloseCancelsUpstream(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	client := setup(t, func(w http.ResponseWriter, r *http.Request) {
		answerSSE("data:{\"stop\":false}\n\n")(w, r)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	})
	stream, err := client.Stream(t.Context(), chatRequest())
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		for _, err := range stream.Frames() {
			if err != nil {
				return
			}
		}
		t.Error("a stream that was closed under way ended well")
	})
	_ = stream.Close()
	_ = stream.Close()
	waitFor(t, "upstream to see the disconnect", gone)
	wait.Wait()
}

func TestStreamFallsSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport, pipe := pipeStream()
		client, err := xingchen.New(xingchen.Config{APIKey: sign.NewSecret(canary), Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		stream, err := client.Stream(t.Context(), chatRequest())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = stream.Close() }()
		var writer sync.WaitGroup
		writer.Go(func() {
			wait, text, err := 59*time.Second, "data:{\"stop\":false}\n\n", error(nil)
			for err == nil { // a frame, then heartbeats, which are no data
				<-time.After(wait)
				_, err = io.WriteString(pipe, text)
				wait, text = 10*time.Second, ":\n\n"
			}
		})
		if _, err := stream.Next(); err != nil {
			t.Fatalf("after 59 s: %v", err)
		}
		<-time.After(time.Hour) // a slow reader is not upstream's fault
		start := time.Now()
		_, err = stream.Next()
		timeout, ok := errors.AsType[interface {
			error
			Timeout() bool
		}](err)
		if !errors.Is(err, upstream.ErrIdle) || errors.Is(err, upstream.ErrTruncated) || !ok || !timeout.Timeout() {
			t.Errorf("got %v, want ErrIdle", err)
		}
		if waited := time.Since(start); waited != time.Minute {
			t.Errorf("waited %v, want a minute", waited)
		}
		writer.Wait()
	})
}

func TestOpenTimesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, err := setupSilent(t).Open(t.Context(), &xingchen.Call{Route: chatRoute(t)})
		network, ok := errors.AsType[*upstream.NetworkError](err)
		if !ok || !network.Timeout() || !errors.Is(err, upstream.ErrIdle) {
			t.Errorf("got %v, want a NetworkError that is a time-out", err)
		}
	})
}

// A finished stream hands its connection back, although nobody asked for the end of the body.
func TestStreamsReuseConnections(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	addresses := map[string]bool{}
	client := setup(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		addresses[r.RemoteAddr] = true
		mu.Unlock()
		answerSSE("data:{\"stop\":true}\n\n")(w, r)
	})
	for range 5 {
		if _, _, err := collect(t, client); err != nil {
			t.Fatal(err)
		}
	}
	if len(addresses) != 1 {
		t.Errorf("five streams took %d connections, want 1", len(addresses))
	}
}

// A stream that is over is over, even if upstream forgets to close it.
func TestStreamEndsWithoutEOF(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	client := setup(t, func(w http.ResponseWriter, r *http.Request) {
		answerSSE("data:{\"stop\":true}\n\n")(w, r)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	})
	texts, _, err := collect(t, client)
	if err != nil || len(texts) != 1 {
		t.Errorf("got %q, %v", texts, err)
	}
	waitFor(t, "upstream to see the disconnect", gone)
}

func TestOpenHandsFramesOnAsTheyCame(t *testing.T) {
	t.Parallel()
	body := string(fixture(t, "assumed-xingchen-stream-cumulative.sse"))
	client := setup(t, answerSSE(body))
	events, err := client.Open(t.Context(), &xingchen.Call{Route: chatRoute(t), Body: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for event, err := range events.Events() {
		if err != nil {
			t.Fatal(err)
		}
		got.WriteString("data:" + string(event.Data) + "\n\n")
	}
	if got.String() != body[:got.Len()] || got.Len() < len(body)-2 {
		t.Errorf("got %q, want %q", got.String(), body)
	}
	if _, err := events.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("Next after the end: %v, want io.EOF", err)
	}
	if events.Buffered() {
		t.Error("Buffered after the end")
	}
}

func TestBareStreams(t *testing.T) {
	t.Parallel()
	const delta = `data:{"choices":[{"delta":{"content":"a"},"finish_reason":null}]}` + "\n\n"
	const finish = `data:{"choices":[{"delta":{},"finish_reason":"stop"}]}` + "\n\n"
	const usage = `data:{"choices":[],"usage":{}}` + "\n\n"
	route, _ := xingchen.RouteFor(http.MethodPost, "/v2/api/chat/completions")
	for body, want := range map[string]error{
		delta + finish + usage + "data:[DONE]\n\n": nil,
		delta + finish + usage:                     nil,
		delta:                                      upstream.ErrTruncated,
	} {
		events, err := setup(t, answerSSE(body)).Open(t.Context(), &xingchen.Call{Route: route})
		if err != nil {
			t.Fatal(err)
		}
		frames := 0
		var failure error
		for _, err := range events.Events() {
			if err != nil {
				failure = err
				break
			}
			frames++
		}
		if !errors.Is(failure, want) || frames != strings.Count(body, "data:") {
			t.Errorf("%q: %d frames, then %v, want %v", body, frames, failure, want)
		}
	}
}
