package stack_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/xingchen"
	"xinghe/testlocal/stack"
)

const painter = "c39797a35ad243f1a85baaa6e1ec37e0"

// studio is a stack whose pictures are made, and asked for, at once.
func studio(t *testing.T, publicURL, fromChat string) *bundle {
	t.Helper()
	return setup(t, map[string]string{"XINGHE_IMAGE_FIRST_POLL": "10ms", "XINGHE_IMAGE_FROM_CHAT": fromChat}, emulator.Config{
		PublicURL: publicURL, Assume: emulator.Assumptions{Xingchen: xingchen.Assumptions{ImageDelay: -1}},
	})
}

// painted lets the character draw, and returns the message that the picture belongs to.
func (b *bundle) painted() string {
	b.t.Helper()
	said := b.post("/v2/api/chat/send", chat(painter, "u", "给我画一张星空"))
	var answer struct {
		Data struct{ Context struct{ MessageID string } }
	}
	if err := json.Unmarshal([]byte(said.body), &answer); err != nil || answer.Data.Context.MessageID == "" {
		b.t.Fatalf("%d %s: %v", said.status, said.body, err)
	}
	return answer.Data.Context.MessageID
}

// picture waits for the end of a picture.
func (b *bundle) picture(message string) jobs.Image {
	b.t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		got := b.call(http.MethodGet, b.URL+"/v1/images/"+message, stack.DefaultKey, "")
		var image jobs.Image
		if err := json.Unmarshal([]byte(got.body), &image); err != nil {
			b.t.Fatalf("%d %s: %v", got.status, got.body, err)
		}
		if image.State.Ended() {
			return image
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			b.t.Fatalf("the picture has no end: %d %s", got.status, got.body)
		}
	}
}

func TestPicture(t *testing.T) {
	t.Parallel()
	b := studio(t, "", "")
	message := b.painted()
	if got := b.post("/v1/images", `{"messageId":"`+message+`","userId":"u"}`); got.status != http.StatusAccepted {
		t.Fatalf("%d %s", got.status, got.body)
	}
	image := b.picture(message)
	if image.State != jobs.ImageReady || len(image.Files) != 1 {
		t.Fatalf("%+v", image)
	}
	file := b.call(http.MethodGet, b.URL+"/v1/images/"+message+"/files/1.png", stack.DefaultKey, "")
	if file.status != http.StatusOK || int64(len(file.body)) != image.Files[0].Bytes || !strings.HasPrefix(file.body, "\x89PNG") {
		t.Errorf("%d, %d bytes; want %+v", file.status, len(file.body), image.Files[0])
	}
}

// Upstream's word is not taken for where a picture is.
func TestPictureThatLiesInside(t *testing.T) {
	t.Parallel()
	b := studio(t, "http://169.254.169.254", "")
	message := b.painted()
	b.post("/v1/images", `{"messageId":"`+message+`","userId":"u"}`)
	if image := b.picture(message); image.State != jobs.ImageFailed || image.Error == nil || !strings.Contains(*image.Error, "refused 169.254.169.254") {
		t.Errorf("%+v", image)
	}
}

func TestPictureOfAnAnswer(t *testing.T) {
	t.Parallel()
	b := studio(t, "", painter)
	b.consumes(queue.StreamEvents, "image-chat")
	message := b.painted()
	if image := b.picture(message); image.State != jobs.ImageReady {
		t.Errorf("%+v", image)
	}
}

// consumes waits until a worker listens.
func (b *bundle) consumes(stream, name string) {
	b.t.Helper()
	conn, err := nats.Connect(b.NATSURL)
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for _, err = js.Consumer(ctx, stream, name); err != nil; _, err = js.Consumer(ctx, stream, name) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.t.Fatalf("nobody listens as %s: %v", name, err)
		}
	}
}
