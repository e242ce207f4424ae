package image_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"xinghe/shared/egress"
	"xinghe/shared/env"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/sink"
	"xinghe/shared/xingchen"
	"xinghe/testlocal/natstest"
	worker "xinghe/workers/image"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

// patience is how long a test waits for what must come.
const patience = 100 * time.Second

// script answers polls from a function of the message and of how often it was asked for.
type script struct {
	mu     sync.Mutex
	polls  map[string]int
	answer func(message string, poll int) (xingchen.Image, error)
}

func (s *script) PollImage(_ context.Context, message, user string, _ ...xingchen.CallOption) (xingchen.Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if user != "u" {
		return xingchen.Image{}, &xingchen.Error{Key: "aca.error.notfound", HTTPStatus: 400}
	}
	s.polls[message]++
	return s.answer(message, s.polls[message])
}

func (s *script) count(message string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.polls[message]
}

func running() (xingchen.Image, error) { return xingchen.Image{Status: "running"}, nil }

func ready(addresses ...string) (xingchen.Image, error) {
	return xingchen.Image{Status: "success", FileURLs: addresses}, nil
}

// bundle is a queue, an upstream and a place for files.
type bundle struct {
	t      *testing.T
	js     jetstream.JetStream
	queue  *queue.Queue
	images *queue.Store[jobs.Image]
	script *script
	root   string
}

func setup(t *testing.T, answer func(message string, poll int) (xingchen.Image, error)) *bundle {
	t.Helper()
	js := natstest.New(t).JetStream()
	q, err := queue.New(js, queue.Config{Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	images, err := queue.OpenStore[jobs.Image](q, jobs.BucketImages, queue.StoreConfig{TTL: jobs.ImageRetention})
	if err != nil {
		t.Fatal(err)
	}
	return &bundle{t: t, js: js, queue: q, images: images, root: t.TempDir(), script: &script{polls: map[string]int{}, answer: answer}}
}

// config polls in no time and takes files from this machine.
func (b *bundle) config() worker.Config {
	b.t.Helper()
	files, err := sink.NewFolder(b.root)
	if err != nil {
		b.t.Fatal(err)
	}
	return worker.Config{
		Queue: b.queue, Pictures: b.script, Sink: files, Egress: egress.Config{Allow: []string{"127.0.0.1"}},
		FirstPoll: time.Millisecond, LongestPoll: 20 * time.Millisecond, Deadline: time.Hour, Attempts: 3,
		Backoff: func(int) time.Duration { return time.Millisecond },
	}
}

// start runs a worker until stop is called, which waits for it.
func (b *bundle) start(cfg worker.Config) (stop func()) {
	b.t.Helper()
	w, err := worker.New(cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, w.Close()); err != nil {
			b.t.Errorf("worker: %v", err)
		}
	})
	b.t.Cleanup(stop)
	return stop
}

// ask publishes a job as the function does.
func (b *bundle) ask(message string, change ...func(*jobs.ImageJob)) {
	b.t.Helper()
	job := jobs.ImageJob{ImageRequest: jobs.ImageRequest{MessageID: message, UserID: "u"}, Round: 1, RequestedAt: time.Now().UTC()}
	for _, apply := range change {
		apply(&job)
	}
	data, err := json.Marshal(job)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.queue.Publish(b.t.Context(), queue.Job{Subject: jobs.SubjectImage + jobs.ImageKey(message), Data: data, Unique: true}); err != nil {
		b.t.Fatal(err)
	}
}

// end waits for the picture's end.
func (b *bundle) end(message string) jobs.Image {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	for entry, err := range b.images.Watch(ctx, jobs.ImageKey(message)) {
		if err != nil {
			b.t.Fatalf("picture of %s: %v", message, err)
		}
		if entry.Value.State.Ended() {
			return entry.Value
		}
	}
	b.t.Fatalf("picture of %s: no end", message)
	return jobs.Image{}
}

// drained waits until no job is left.
func (b *bundle) drained() {
	b.t.Helper()
	b.until("no job is left", func() bool {
		stream, err := b.js.Stream(b.t.Context(), queue.StreamJobs)
		if err != nil {
			b.t.Fatal(err)
		}
		return stream.CachedInfo().State.Msgs == 0
	})
}

func (b *bundle) until(what string, ok func() bool) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// events returns those about pictures, in order: type, message and state.
func (b *bundle) events() []string {
	b.t.Helper()
	stream, err := b.js.Stream(b.t.Context(), queue.StreamEvents)
	if err != nil {
		b.t.Fatal(err)
	}
	var list []string
	for sequence := uint64(1); sequence <= stream.CachedInfo().State.LastSeq; sequence++ {
		msg, err := stream.GetMsg(b.t.Context(), sequence)
		if err != nil {
			b.t.Fatal(err)
		}
		var event struct {
			Type, Subject string
			Data          jobs.Image
		}
		if err := json.Unmarshal(msg.Data, &event); err != nil {
			b.t.Fatal(err)
		}
		if strings.HasPrefix(event.Type, "xinghe.image.") && msg.Subject == "xinghe.events."+strings.TrimPrefix(event.Type, "xinghe.") {
			list = append(list, fmt.Sprintf("%s %s %s", event.Type, event.Subject, event.Data.State))
		}
	}
	return list
}

// stored reads a file of a picture, holding it against what its record says.
func (b *bundle) stored(file jobs.ImageFile) []byte {
	b.t.Helper()
	data, err := os.ReadFile(filepath.Join(b.root, filepath.FromSlash(file.Path)))
	if err != nil {
		b.t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	if int64(len(data)) != file.Bytes || hex.EncodeToString(sum[:]) != file.SHA256 {
		b.t.Errorf("%s: the record has %d bytes, sha256 %s; the file %d and %x", file.Path, file.Bytes, file.SHA256, len(data), sum)
	}
	return data
}

// files is what the server of files has, by its path.
func serveFiles(t *testing.T, files map[string][]byte) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, ok := files[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "text/plain") // never to be trusted
		_, _ = w.Write(data)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func paint(t *testing.T, encode func(io.Writer, image.Image) error) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := encode(&buf, image.NewGray(image.Rect(0, 0, 40, 30))); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func pictures(t *testing.T) map[string][]byte {
	t.Helper()
	return map[string][]byte{
		"/png":  paint(t, png.Encode),
		"/jpg":  paint(t, func(w io.Writer, m image.Image) error { return jpeg.Encode(w, m, nil) }),
		"/gif":  paint(t, func(w io.Writer, m image.Image) error { return gif.Encode(w, m, nil) }),
		"/webp": append([]byte("RIFF\x24\x00\x00\x00WEBPVP8 \x18\x00\x00\x00"), make([]byte, 24)...),
		"/html": []byte("<!DOCTYPE html><html><body>sign in</body></html>"),
		"/svg":  []byte(`<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"></svg>`),
		"/long": append(paint(t, png.Encode), make([]byte, 4096)...),
	}
}

func TestReadyPictureIsStored(t *testing.T) {
	t.Parallel()
	files := pictures(t)
	base := serveFiles(t, files)
	b := setup(t, func(_ string, poll int) (xingchen.Image, error) {
		if poll < 3 {
			return running()
		}
		return ready(base+"/png", base+"/jpg", base+"/gif", base+"/webp", base+"/long")
	})
	b.start(b.config())
	b.ask("Message/1")
	got := b.end("Message/1")
	want := jobs.Image{MessageID: "Message/1", UserID: "u", State: jobs.ImageReady, Round: 1}
	for i, file := range []struct{ path, kind, extension string }{
		{"/png", "image/png", "png"}, {"/jpg", "image/jpeg", "jpg"}, {"/gif", "image/gif", "gif"}, {"/webp", "image/webp", "webp"}, {"/long", "image/png", "png"},
	} {
		sum := sha256.Sum256(files[file.path])
		want.Files = append(want.Files, jobs.ImageFile{
			Path: fmt.Sprintf("images/=4dessage=2f1/%d.%s", i+1, file.extension), ContentType: file.kind,
			Bytes: int64(len(files[file.path])), SHA256: hex.EncodeToString(sum[:]),
		})
		if stored := b.stored(want.Files[i]); !bytes.Equal(stored, files[file.path]) {
			t.Errorf("%s is stored otherwise than it was served", file.path)
		}
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(jobs.Image{}, "RequestedAt", "EndedAt")); diff != "" {
		t.Error(diff)
	}
	if got.EndedAt == nil || got.EndedAt.Before(got.RequestedAt) {
		t.Errorf("ended at %v, requested at %v", got.EndedAt, got.RequestedAt)
	}
	b.drained()
	if diff := cmp.Diff([]string{"xinghe.image.ready Message/1 ready"}, b.events()); diff != "" {
		t.Error(diff)
	}
}

func TestEndsWithoutPicture(t *testing.T) {
	t.Parallel()
	base := serveFiles(t, pictures(t))
	refusal := func(key string, status int) error {
		return &xingchen.Error{Key: key, HTTPStatus: status, Message: "no"}
	}
	picture := paint(t, png.Encode)
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(picture)
		_ = http.NewResponseController(w).Flush() // so that it cannot say how much comes
		_, _ = w.Write(make([]byte, 8192))
	}))
	t.Cleanup(endless.Close)
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	t.Cleanup(broken.Close)
	for _, tc := range []struct {
		name   string
		image  xingchen.Image
		err    error
		state  jobs.ImageState
		reason string
		polls  int // at least; refusals that stay are not asked about twice
	}{
		{"failed", xingchen.Image{Status: "FAILED", ErrorMessage: "out of paint"}, nil, jobs.ImageFailed, "out of paint", 1},
		{"unknown", xingchen.Image{}, refusal("aca.error.notfound", 400), jobs.ImageFailed, "aca.error.notfound", 1},
		{"forbidden", xingchen.Image{}, refusal("aca.error.no.permission", 400), jobs.ImageFailed, "aca.error.no.permission", 1},
		{"stuck", xingchen.Image{Status: "running"}, nil, jobs.ImageFailed, `no picture within 50ms: upstream says "running"`, 1},
		{"throttled", xingchen.Image{}, refusal("aca.error.throttling", 429), jobs.ImageFailed, "no picture within 50ms: xingchen", 2},
		{"unreachable", xingchen.Image{}, errors.New("no route"), jobs.ImageFailed, "no picture within 50ms: no route", 2},
		{"no address", xingchen.Image{Status: "success"}, nil, jobs.ImageFailed, "names no address", 1},
		{"expired", xingchen.Image{Status: "success", FileURLs: []string{base + "/gone"}}, nil, jobs.ImageExpired, "expired", 2},
		{"one of two expired", xingchen.Image{Status: "success", FileURLs: []string{base + "/png", base + "/gone"}}, nil, jobs.ImageExpired, "expired", 2},
		{"a page", xingchen.Image{Status: "success", FileURLs: []string{base + "/html"}}, nil, jobs.ImageFailed, "text/html", 1},
		{"a drawing that could hold scripts", xingchen.Image{Status: "success", FileURLs: []string{base + "/svg"}}, nil, jobs.ImageFailed, "image/svg+xml", 1},
		{"too large", xingchen.Image{Status: "success", FileURLs: []string{base + "/long"}}, nil, jobs.ImageFailed, "larger than allowed", 1},
		{"larger than it says", xingchen.Image{Status: "success", FileURLs: []string{endless.URL}}, nil, jobs.ImageFailed, "larger than allowed", 1},
		{"inside", xingchen.Image{Status: "success", FileURLs: []string{"http://[::1]:1/"}}, nil, jobs.ImageFailed, "refused ::1", 1},
		{"no scheme", xingchen.Image{Status: "success", FileURLs: []string{"picture.png"}}, nil, jobs.ImageFailed, "refused", 1},
		{"broken", xingchen.Image{Status: "success", FileURLs: []string{broken.URL + "/?Signature=canary"}}, nil, jobs.ImageFailed, "status 502", 3},
		{"nobody there", xingchen.Image{Status: "success", FileURLs: []string{"http://127.0.0.1:1/?Signature=canary"}}, nil, jobs.ImageFailed, "refused", 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(string, int) (xingchen.Image, error) { return tc.image, tc.err })
			cfg := b.config()
			cfg.Deadline, cfg.Egress.MaxBytes = 50*time.Millisecond, 4000
			b.start(cfg)
			b.ask("m")
			got := b.end("m")
			if got.State != tc.state || got.Error == nil || !strings.Contains(*got.Error, tc.reason) || len(got.Files) > 0 {
				t.Errorf("%+v, %v; want %s for %q", got, value(got.Error), tc.state, tc.reason)
			}
			if strings.Contains(value(got.Error), "canary") {
				t.Errorf("the reason repeats what gives access: %s", *got.Error)
			}
			if polls := b.script.count("m"); polls < tc.polls || polls > 1 && strings.Contains(tc.reason, "larger") {
				t.Errorf("asked %d times, want %d", polls, tc.polls)
			}
			b.drained()
			if diff := cmp.Diff([]string{"xinghe.image.failed m " + string(tc.state)}, b.events()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func value(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

// A question that is asked after the deadline is the last one, and it counts.
func TestLastPollWinsOverDeadline(t *testing.T) {
	t.Parallel()
	base := serveFiles(t, pictures(t))
	b := setup(t, func(message string, poll int) (xingchen.Image, error) {
		switch {
		case message == "shaky" && poll < 3:
			return xingchen.Image{}, &xingchen.Error{HTTPStatus: http.StatusBadGateway}
		case message == "late", message == "shaky":
			return ready(base + "/png")
		}
		return running()
	})
	b.start(b.config())
	hours := func(job *jobs.ImageJob) { job.RequestedAt = job.RequestedAt.Add(-5 * time.Hour) }
	b.ask("late", hours)
	b.ask("never", hours)
	b.ask("shaky", hours)
	if got := b.end("shaky"); got.State != jobs.ImageReady {
		t.Errorf("ready when the last question is answered: %+v, %s", got, value(got.Error))
	}
	if got := b.end("late"); got.State != jobs.ImageReady {
		t.Errorf("ready at the last question: %+v, %s", got, value(got.Error))
	}
	if got := b.end("never"); got.State != jobs.ImageFailed || b.script.count("never") != 1 {
		t.Errorf("%+v after %d questions", got, b.script.count("never"))
	}
}

func TestFreshAddressIsAskedFor(t *testing.T) {
	t.Parallel()
	base := serveFiles(t, pictures(t))
	b := setup(t, func(_ string, poll int) (xingchen.Image, error) {
		if poll == 1 {
			return ready(base + "/gone")
		}
		return ready(base + "/png")
	})
	b.start(b.config())
	b.ask("m")
	if got := b.end("m"); got.State != jobs.ImageReady || b.script.count("m") != 2 {
		t.Errorf("%+v, %s after %d questions", got, value(got.Error), b.script.count("m"))
	}
}

func TestAskedForAgain(t *testing.T) {
	t.Parallel()
	base := serveFiles(t, pictures(t))
	b := setup(t, func(_ string, poll int) (xingchen.Image, error) {
		if poll == 1 {
			return xingchen.Image{Status: "failed"}, nil
		}
		return ready(base + "/png")
	})
	b.start(b.config())
	b.ask("m")
	b.end("m")
	b.drained()
	b.ask("m", func(job *jobs.ImageJob) { job.Round = 2 })
	b.until("it is ready", func() bool {
		entry, err := b.images.Get(t.Context(), "m")
		return err == nil && entry.Value.State == jobs.ImageReady && entry.Value.Round == 2
	})
	b.drained()
	if _, err := b.images.Modify(t.Context(), "m", func(image *jobs.Image) error {
		image.State, image.Round = jobs.ImagePending, 3
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	b.ask("m") // of the first round, come late
	b.drained()
	want := []string{"xinghe.image.failed m failed", "xinghe.image.ready m ready"}
	if diff := cmp.Diff(want, b.events()); diff != "" {
		t.Error(diff)
	}
	if polls := b.script.count("m"); polls != 2 {
		t.Errorf("asked %d times", polls)
	}
}

func TestFromEnv(t *testing.T) {
	t.Parallel()
	set := map[string]string{
		"XINGHE_IMAGE_FIRST_POLL": "3s", "XINGHE_IMAGE_LONGEST_POLL": "20s", "XINGHE_IMAGE_DEADLINE": "1h", "XINGHE_IMAGE_MAX_BYTES": "1000",
		"XINGHE_IMAGE_FROM_CHAT": "a, b", "XINGHE_ALLOW_HOSTS": "localhost:1",
	}
	vars := env.New(func(name string) string { return set[name] })
	want := worker.Config{
		FirstPoll: 3 * time.Second, LongestPoll: 20 * time.Second, Deadline: time.Hour, FromChat: []string{"a", "b"},
		Egress: egress.Config{Allow: []string{"localhost:1"}, MaxBytes: 1000},
	}
	if diff := cmp.Diff(want, worker.FromEnv(vars), cmpopts.IgnoreFields(worker.Config{}, "Backoff", "Now", "Queue", "Budget")); diff != "" || vars.Err() != nil {
		t.Errorf("%v\n%s", vars.Err(), diff)
	}
	set = map[string]string{"XINGHE_IMAGE_DEADLINE": "soon", "XINGHE_IMAGE_MAX_BYTES": "0", "XINGHE_ALLOW_HOSTS": "*"}
	vars = env.New(func(name string) string { return set[name] })
	worker.FromEnv(vars)
	for name := range set {
		if err := vars.Err(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
