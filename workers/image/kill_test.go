package image_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/sink"
	"xinghe/shared/xingchen"
)

// deadly is a sink whose worker dies once a file has appeared.
type deadly struct {
	sink.Sink
	kill func()
}

func (d deadly) Create(ctx context.Context, path string) (sink.Writer, error) {
	w, err := d.Sink.Create(ctx, path)
	return deadlyWriter{Writer: w, gone: ctx.Done(), kill: d.kill}, err
}

type deadlyWriter struct {
	sink.Writer
	gone <-chan struct{}
	kill func()
}

func (w deadlyWriter) Commit() error {
	err := w.Writer.Commit()
	w.kill()
	<-w.gone
	return err
}

func TestWorkerKilledBetweenFileAndState(t *testing.T) {
	t.Parallel()
	files := pictures(t)
	base := serveFiles(t, files)
	b := setup(t, func(string, int) (xingchen.Image, error) { return ready(base + "/png") })
	killed := make(chan struct{})
	cfg := b.config()
	cfg.Drain = -1 // what is under way is cut off
	cfg.Sink = deadly{Sink: cfg.Sink, kill: sync.OnceFunc(func() { close(killed) })}
	stop := b.start(cfg)
	b.ask("m")
	<-killed
	stop()
	entry, err := b.images.Get(t.Context(), "m")
	if err != nil || entry.Value.State != jobs.ImagePending {
		t.Fatalf("after the first worker's death: %+v, %v", entry.Value, err)
	}
	b.start(b.config())
	got := b.end("m")
	if got.State != jobs.ImageReady || len(got.Files) != 1 || got.Files[0].Path != "images/m/1.png" {
		t.Fatalf("%+v, %s", got, value(got.Error))
	}
	b.stored(got.Files[0])
	b.drained()
	if diff := cmp.Diff([]string{"xinghe.image.ready m ready"}, b.events()); diff != "" {
		t.Error(diff)
	}
	if left := b.names(); len(left) != 1 {
		t.Errorf("files: %v", left)
	}
}

// names lists the files that were stored.
func (b *bundle) names() []string {
	b.t.Helper()
	names, err := filepath.Glob(filepath.Join(b.root, "images", "*", "*"))
	if err != nil {
		b.t.Fatal(err)
	}
	hidden, err := filepath.Glob(filepath.Join(b.root, "images", "*", ".*"))
	if err != nil {
		b.t.Fatal(err)
	}
	return append(names, hidden...)
}

func TestStateWithoutEventIsTold(t *testing.T) {
	t.Parallel()
	b := setup(t, func(string, int) (xingchen.Image, error) { return running() })
	now := time.Now().UTC()
	_, err := b.images.Create(t.Context(), "m", jobs.Image{MessageID: "m", UserID: "u", State: jobs.ImageReady, Round: 1, RequestedAt: now, EndedAt: &now})
	if err != nil {
		t.Fatal(err)
	}
	b.ask("m")
	b.start(b.config())
	b.drained()
	if diff := cmp.Diff([]string{"xinghe.image.ready m ready"}, b.events()); diff != "" || b.script.count("m") > 0 {
		t.Errorf("asked %d times; %s", b.script.count("m"), diff)
	}
}

// A sink that fails is tried again; the picture has failed in the end, and no half of it is
// left.
func TestSinkThatFails(t *testing.T) {
	t.Parallel()
	base := serveFiles(t, pictures(t))
	b := setup(t, func(string, int) (xingchen.Image, error) { return ready(base + "/png") })
	if err := os.WriteFile(filepath.Join(b.root, "images"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.start(b.config())
	b.ask("m")
	if got := b.end("m"); got.State != jobs.ImageFailed || b.script.count("m") != 3 {
		t.Errorf("%+v after %d tries", got, b.script.count("m"))
	}
}

// What a worker leaves that is killed while it writes is swept by the next one.
func TestLeftoversAreSwept(t *testing.T) {
	t.Parallel()
	base := serveFiles(t, pictures(t))
	b := setup(t, func(_ string, poll int) (xingchen.Image, error) {
		if poll == 1 {
			return ready("http://127.0.0.1:1/")
		}
		return ready(base + "/png")
	})
	left := filepath.Join(b.root, "images", "m", ".1.png.01ARZ3NDEKTSV4RRFFQ69G5FAV.draft")
	if err := os.MkdirAll(filepath.Dir(left), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.start(b.config())
	b.ask("m")
	if got := b.end("m"); got.State != jobs.ImageReady {
		t.Errorf("%+v, %s", got, value(got.Error))
	}
	if names := b.names(); len(names) != 1 || filepath.Base(names[0]) != "1.png" {
		t.Errorf("files: %v", names)
	}
}

func TestPicturesOfAnswers(t *testing.T) {
	t.Parallel()
	base := serveFiles(t, pictures(t))
	b := setup(t, func(message string, _ int) (xingchen.Image, error) {
		if message == "drawn" {
			return ready(base + "/png")
		}
		return xingchen.Image{}, &xingchen.Error{Key: "aca.error.notfound", HTTPStatus: 400}
	})
	cfg := b.config()
	cfg.FromChat = []string{"painter"}
	b.start(cfg)
	b.until("the worker hears of answers", func() bool {
		_, err := b.js.Consumer(t.Context(), queue.StreamEvents, "image-chat")
		return err == nil
	})
	now := time.Now()
	for message, event := range map[string]jobs.ChatEvent{
		"drawn":     {Bot: "character:painter", UserID: "u"},
		"plain":     {Bot: "character:painter", UserID: "u"},
		"other":     {Bot: "character:writer", UserID: "u"},
		"robot":     {Bot: "beebot:painter", UserID: "u"},
		"anonymous": {Bot: "character:painter", UserID: "u", Anonymous: true},
		"nobody":    {Bot: "character:painter"},
		"old":       {Bot: "character:painter", UserID: "u"},
	} {
		at := now
		if message == "old" {
			at = now.Add(-2 * time.Hour)
		}
		event.MessageID = message
		b.publishEvent(jobs.EventChatCompleted, message, at, event)
	}
	if got := b.end("drawn"); got.State != jobs.ImageReady || got.Unasked {
		t.Errorf("%+v", got)
	}
	b.until("all events are heard", func() bool {
		consumer, err := b.js.Consumer(t.Context(), queue.StreamEvents, "image-chat")
		if err != nil {
			t.Fatal(err)
		}
		info := consumer.CachedInfo()
		return info.NumPending == 0 && info.NumAckPending == 0
	})
	b.drained()
	for message, polls := range map[string]int{"plain": 1, "other": 0, "robot": 0, "anonymous": 0, "nobody": 0, "old": 0} {
		if _, err := b.images.Get(t.Context(), message); err == nil || b.script.count(message) != polls {
			t.Errorf("%s: asked %d times, want %d; record: %v", message, b.script.count(message), polls, err)
		}
	}
	if diff := cmp.Diff([]string{"xinghe.image.ready drawn ready"}, b.events()); diff != "" {
		t.Error(diff)
	}
}

func (b *bundle) publishEvent(kind, id string, at time.Time, data any) {
	b.t.Helper()
	event, err := jobs.NewEvent(kind, id, "/xinghe/chat", id, at, data)
	if err != nil {
		b.t.Fatal(err)
	}
	encoded, err := json.Marshal(event)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.queue.PublishEvent(b.t.Context(), jobs.EventPrefix+kind, id, encoded); err != nil {
		b.t.Fatal(err)
	}
}
