package upstream_test

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"xinghe/shared/sse"
	"xinghe/shared/upstream"
)

var (
	errFault   = errors.New("a fault in the frame")
	errRefused = errors.New("refused")
)

func TestStreamEnds(t *testing.T) {
	t.Parallel()
	for body, test := range map[string]struct {
		frames string
		want   error // none where the stream ends well
	}{
		"data:a\n\nevent:last\ndata:b\n\ndata:c\n\n":  {"ab", nil},
		"data:a\n\nevent:skip\ndata:b\n\ndata:c\n\n":  {"ac", upstream.ErrTruncated},
		"event:mayend\ndata:a\n\ndata:b\n\n":          {"ab", nil},
		"event:mayend\ndata:a\n\ndata:b":              {"ab", nil},
		"data:a\n\nevent:fault\ndata:b\n\ndata:c\n\n": {"a", errFault},
		"": {"", upstream.ErrTruncated},
	} {
		stream := mustOpen(t, answer("text/event-stream", strings.NewReader(body)))
		frames, failure := "", error(nil)
		for event, err := range stream.Events() {
			frames, failure = frames+string(event.Data), err
		}
		if frames != test.frames || !errors.Is(failure, test.want) {
			t.Errorf("%q: %q, then %v, want %q, %v", body, frames, failure, test.frames, test.want)
		}
		_, again := stream.Next()
		if want := failure; want == nil && again != io.EOF || want != nil && (!errors.Is(again, want) || errors.Is(again, io.EOF)) { //nolint:errorlint // it must be bare
			t.Errorf("%q: then %v", body, again)
		}
		if stream.Buffered() {
			t.Errorf("%q: buffered after the end", body)
		}
	}
}

func TestStreamBreaks(t *testing.T) {
	t.Parallel()
	broken := io.MultiReader(strings.NewReader("data:a\n\nevent:mayend\ndata:b\n\n"), iotest.ErrReader(io.ErrUnexpectedEOF))
	stream := mustOpen(t, answer("text/event-stream", broken))
	var failure error
	for _, err := range stream.Events() {
		failure = err
	}
	network, ok := errors.AsType[*upstream.NetworkError](failure)
	if !errors.Is(failure, upstream.ErrTruncated) || !ok || network.Timeout() || !errors.Is(failure, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want ErrTruncated around a NetworkError", failure)
	}
}

func TestOpenRefused(t *testing.T) {
	t.Parallel()
	if _, err := open(t, answer("text/html", strings.NewReader("<html>"))); !errors.Is(err, errRefused) {
		t.Errorf("got %v", err)
	}
	_, err := open(t, answer("text/html", iotest.ErrReader(io.ErrUnexpectedEOF)))
	if _, ok := errors.AsType[*upstream.NetworkError](err); !ok {
		t.Errorf("a refusal that breaks off: %v, want a NetworkError", err)
	}
	if _, err := open(t, answer("text/html", strings.NewReader(strings.Repeat("x", 9<<20)))); !errors.Is(err, errRefused) {
		t.Errorf("a refusal without an end: %v", err)
	}
}

// Upstream is alive only while it says something: what is not handed on is no sign of life.
func TestIdleTimeoutCountsFramesOnly(t *testing.T) {
	t.Parallel()
	for _, noise := range []string{":\n\n", "event:skip\ndata:x\n\n"} {
		synctest.Test(t, func(t *testing.T) {
			stream := mustOpen(t, dribble("data:a\n\n", noise, 7*time.Second))
			if _, err := stream.Next(); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			_, err := stream.Next()
			if !errors.Is(err, upstream.ErrIdle) || errors.Is(err, upstream.ErrTruncated) || time.Since(start) != time.Minute {
				t.Errorf("%q: after %v: %v, want ErrIdle after a minute", noise, time.Since(start), err)
			}
		})
	}
}

// However much follows the last frame, closing takes no longer than a moment.
func TestCloseDrainsForAMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stream := mustOpen(t, dribble("event:last\ndata:a\n\n", "data:b\n\n", 10*time.Millisecond))
		if _, err := stream.Next(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_ = stream.Close()
		if waited := time.Since(start); waited != 100*time.Millisecond {
			t.Errorf("waited %v, want 100 ms", waited)
		}
	})
}

// The race detector watches that closing elsewhere does not write over the last frame.
func TestCloseWhileTheLastFrameIsInUse(t *testing.T) {
	t.Parallel()
	frame := strings.Repeat("x", 5000)
	body := io.MultiReader(strings.NewReader("event:last\ndata:"+frame+"\n\n"), strings.NewReader(strings.Repeat("data:y\n\n", 5000)))
	stream := mustOpen(t, answer("text/event-stream", body))
	event, err := stream.Next()
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 3 {
		wait.Go(func() { _ = stream.Close() })
	}
	if string(event.Data) != frame {
		t.Error("the frame has changed")
	}
	wait.Wait()
	if string(event.Data) != frame {
		t.Error("the frame has changed")
	}
}

func TestFail(t *testing.T) {
	t.Parallel()
	stream := mustOpen(t, answer("text/event-stream", strings.NewReader("data:a\n\ndata:b\n\n")))
	if err := stream.Fail(errFault); !errors.Is(err, errFault) {
		t.Errorf("Fail = %v", err)
	}
	if _, err := stream.Next(); !errors.Is(err, errFault) {
		t.Errorf("Next = %v", err)
	}
}

func TestAllClosesWhenItsReaderStops(t *testing.T) {
	t.Parallel()
	var cancelled <-chan struct{}
	transport := answer("text/event-stream", strings.NewReader("data:a\n\ndata:b\n\n"))
	stream := mustOpen(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		cancelled = r.Context().Done()
		return transport(r)
	}))
	for _, err := range stream.Events() {
		if err != nil {
			t.Error(err)
		}
		break
	}
	select {
	case <-cancelled:
	default:
		t.Error("upstream was not cancelled")
	}
}

func TestInspectSeesTheHeader(t *testing.T) {
	t.Parallel()
	service := upstream.Service{Name: "star", Transport: answer("text/event-stream", strings.NewReader("data:a\n\n"))}
	if err := service.Complete(); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://star.invalid/", nil)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	stream, err := service.Open(req, "GET /", nil, func(header http.Header, _ sse.Event) (upstream.Verdict, error) {
		ids = append(ids, header.Get("X-Request-Id"))
		return upstream.Last, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range stream.Events() {
		if err != nil {
			t.Error(err)
		}
	}
	if !slices.Equal(ids, []string{"r"}) {
		t.Errorf("got %q", ids)
	}
}
