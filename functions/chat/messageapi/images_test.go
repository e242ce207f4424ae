package messageapi_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"xinghe/functions/chat/messageapi"
	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/sink"
	"xinghe/testlocal/natstest"
)

var noon = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

// gallery is the surface for pictures over a queue that no worker serves.
type gallery struct {
	t       *testing.T
	js      jetstream.JetStream
	queue   *queue.Queue
	images  *queue.Store[jobs.Image]
	files   *sink.Folder
	handler http.Handler
}

func newGallery(t *testing.T) *gallery {
	t.Helper()
	js := natstest.New(t).JetStream()
	q, err := queue.New(js, queue.Config{Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	g := &gallery{t: t, js: js, queue: q}
	if g.images, err = queue.OpenStore[jobs.Image](q, jobs.BucketImages, queue.StoreConfig{TTL: jobs.ImageRetention}); err != nil {
		t.Fatal(err)
	}
	if g.files, err = sink.NewFolder(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	g.handler = surface(t, messageapi.Config{Queue: q, Sink: g.files, Timeout: 30 * time.Second, Now: func() time.Time { return noon }})
	return g
}

func surface(t *testing.T, cfg messageapi.Config) http.Handler {
	t.Helper()
	api, err := messageapi.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	digest := func(key string) string {
		sum := sha256.Sum256([]byte(key))
		return hex.EncodeToString(sum[:])
	}
	keys, err := httpapi.ParseKeys(fmt.Sprintf(`[{"name":"w","sha256":%q,"scopes":["message:write","message:read"]},{"name":"r","sha256":%q,"scopes":["message:read"]}]`,
		digest("writer"), digest("reader")))
	if err != nil {
		t.Fatal(err)
	}
	handler, err := httpapi.New(httpapi.Config{Keys: keys}, api.Routes()...)
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

func call(handler http.Handler, method, path, key, body string, header ...string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(context.Background(), method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+key)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	handler.ServeHTTP(w, r)
	return w
}

// post asks for a picture that is accepted.
func (g *gallery) post(body string) jobs.Image {
	g.t.Helper()
	w := call(g.handler, http.MethodPost, "/v1/images", "writer", body)
	if w.Code != http.StatusAccepted {
		g.t.Fatalf("%s: %d %s", body, w.Code, w.Body)
	}
	var image jobs.Image
	if err := json.Unmarshal(w.Body.Bytes(), &image); err != nil {
		g.t.Fatal(err)
	}
	return image
}

// jobs returns those that wait.
func (g *gallery) jobs() []jobs.ImageJob {
	g.t.Helper()
	stream, err := g.js.Stream(g.t.Context(), queue.StreamJobs)
	if err != nil {
		g.t.Fatal(err)
	}
	state := stream.CachedInfo().State
	var list []jobs.ImageJob
	for sequence := state.FirstSeq; sequence <= state.LastSeq && state.Msgs > 0; sequence++ {
		msg, err := stream.GetMsg(g.t.Context(), sequence)
		if err != nil {
			continue // done
		}
		var job jobs.ImageJob
		if err := json.Unmarshal(msg.Data, &job); err != nil {
			g.t.Fatal(err)
		}
		if want := jobs.SubjectImage + jobs.ImageKey(job.MessageID); msg.Subject != want {
			g.t.Errorf("subject %s, want %s", msg.Subject, want)
		}
		list = append(list, job)
	}
	return list
}

// finish ends a picture as a worker does, and takes its job away.
func (g *gallery) finish(message string, change func(*jobs.Image)) {
	g.t.Helper()
	key := jobs.ImageKey(message)
	if _, err := g.images.Modify(g.t.Context(), key, func(image *jobs.Image) error {
		change(image)
		return nil
	}); err != nil {
		g.t.Fatal(err)
	}
	g.takeJob(key)
}

func (g *gallery) takeJob(key string) {
	g.t.Helper()
	stream, err := g.js.Stream(g.t.Context(), queue.StreamJobs)
	if err == nil {
		err = stream.Purge(g.t.Context(), jetstream.WithPurgeSubject(jobs.SubjectImage+key))
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

const body = `{"messageId":"8b9df7b9-f15b-4377-9e41-9a3e75ca6af7","userId":"1234567"}`

func TestPictureIsAskedFor(t *testing.T) {
	t.Parallel()
	g := newGallery(t)
	w := call(g.handler, http.MethodPost, "/v1/images", "writer", body)
	const want = `{"messageId":"8b9df7b9-f15b-4377-9e41-9a3e75ca6af7","userId":"1234567","state":"pending","files":[],"error":null,"round":1,"requestedAt":"2024-05-01T12:00:00Z"}`
	if w.Code != http.StatusAccepted || strings.TrimSpace(w.Body.String()) != want {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	place := w.Header().Get("Location")
	if got := call(g.handler, http.MethodGet, place, "reader", ""); got.Code != http.StatusOK || strings.TrimSpace(got.Body.String()) != want {
		t.Errorf("GET %s: %d %s", place, got.Code, got.Body)
	}
	request := jobs.ImageRequest{MessageID: "8b9df7b9-f15b-4377-9e41-9a3e75ca6af7", UserID: "1234567"}
	if diff := cmp.Diff([]jobs.ImageJob{{ImageRequest: request, Round: 1, RequestedAt: noon}}, g.jobs()); diff != "" {
		t.Error(diff)
	}
}

// However often and by how many a message is named, there is one job.
func TestSameMessageIsOneJob(t *testing.T) {
	t.Parallel()
	g := newGallery(t)
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			if w := call(g.handler, http.MethodPost, "/v1/images", "writer", body); w.Code != http.StatusAccepted {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	callers.Wait()
	if n := len(g.jobs()); n != 1 {
		t.Errorf("%d jobs", n)
	}
	w := call(g.handler, http.MethodPost, "/v1/images", "writer", strings.Replace(body, "1234567", "7654321", 1))
	if w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), `"userId"`) {
		t.Errorf("for another user: %d %s", w.Code, w.Body)
	}
}

func TestPictureThatHasEnded(t *testing.T) {
	t.Parallel()
	g := newGallery(t)
	const message = "8b9df7b9-f15b-4377-9e41-9a3e75ca6af7"
	g.post(body)
	g.finish(message, func(image *jobs.Image) { image.State = jobs.ImageFailed })
	if got := g.post(body); got.State != jobs.ImagePending || got.Round != 2 || len(g.jobs()) != 1 || g.jobs()[0].Round != 2 {
		t.Errorf("after a failure: %+v, %+v", got, g.jobs())
	}
	g.finish(message, func(image *jobs.Image) { image.State = jobs.ImageExpired })
	if got := g.post(strings.Replace(body, "1234567", "7", 1)); got.State != jobs.ImagePending || got.Round != 3 || got.UserID != "7" {
		t.Errorf("after an expiry, for another user: %+v", got)
	}
	g.finish(message, func(image *jobs.Image) { image.State = jobs.ImageReady })
	if got := g.post(strings.Replace(body, "1234567", "7", 1)); got.State != jobs.ImageReady || got.Round != 3 || len(g.jobs()) > 0 {
		t.Errorf("when it is there: %+v, %+v", got, g.jobs())
	}
}

// A worker has noted the end of a picture and not yet removed its job.
func TestPictureThatIsEnding(t *testing.T) {
	t.Parallel()
	g := newGallery(t)
	const message = "8b9df7b9-f15b-4377-9e41-9a3e75ca6af7"
	g.post(body)
	if _, err := g.images.Modify(t.Context(), message, func(image *jobs.Image) error {
		image.State = jobs.ImageFailed
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	asked := make(chan jobs.Image)
	go func() {
		var image jobs.Image
		w := call(g.handler, http.MethodPost, "/v1/images", "writer", body)
		if err := json.Unmarshal(w.Body.Bytes(), &image); err != nil || w.Code != http.StatusAccepted {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		asked <- image
	}()
	g.takeJob(message)
	if got := <-asked; got.State != jobs.ImagePending || got.Round != 2 {
		t.Errorf("%+v", got)
	}
	if left := g.jobs(); len(left) != 1 || left[0].Round != 2 {
		t.Errorf("%+v", left)
	}
}

// A job that was lost with its stream is made again.
func TestPictureWhoseJobIsGone(t *testing.T) {
	t.Parallel()
	g := newGallery(t)
	g.post(body)
	g.takeJob("8b9df7b9-f15b-4377-9e41-9a3e75ca6af7")
	if got := g.post(body); got.Round != 1 || len(g.jobs()) != 1 {
		t.Errorf("%+v, %+v", got, g.jobs())
	}
}

func TestUnaskedPictureIsAskedFor(t *testing.T) {
	t.Parallel()
	g := newGallery(t)
	job := jobs.ImageJob{ImageRequest: jobs.ImageRequest{MessageID: "m", UserID: "u"}, Round: 1, RequestedAt: noon, Unasked: true}
	var image jobs.Image
	image.Begin(job)
	if _, err := g.images.Create(t.Context(), "m", image); err != nil {
		t.Fatal(err)
	}
	if got := g.post(`{"messageId":"m","userId":"u"}`); got.Unasked || got.Round != 1 {
		t.Errorf("%+v", got)
	}
}

func TestPictureRefusals(t *testing.T) {
	t.Parallel()
	g := newGallery(t)
	for _, tc := range []struct {
		name, method, path, key, body string
		status                        int
		said                          string
	}{
		{"no body", http.MethodPost, "/v1/images", "writer", "", 400, "the body is empty"},
		{"no fields", http.MethodPost, "/v1/images", "writer", "{}", 400, `"field":"messageId"`},
		{"no user", http.MethodPost, "/v1/images", "writer", `{"messageId":"m"}`, 400, `"field":"userId"`},
		{"long", http.MethodPost, "/v1/images", "writer", `{"messageId":"` + strings.Repeat("m", 65) + `","userId":"u"}`, 400, "longer than 64 bytes"},
		{"line break", http.MethodPost, "/v1/images", "writer", `{"messageId":"a\nb","userId":"u"}`, 400, "control characters"},
		{"unknown field", http.MethodPost, "/v1/images", "writer", `{"messageId":"m","userId":"u","url":"http://x"}`, 400, `"field":"url"`},
		{"number", http.MethodPost, "/v1/images", "writer", `{"messageId":1,"userId":"u"}`, 400, `"field":"messageId"`},
		{"scope", http.MethodPost, "/v1/images", "reader", body, 403, "message:write"},
		{"unknown", http.MethodGet, "/v1/images/nobody", "reader", "", 404, "the picture of message nobody"},
		{"unknown and long", http.MethodGet, "/v1/images/" + strings.Repeat("m", 5000), "reader", "", 404, "not_found"},
		{"unknown file", http.MethodGet, "/v1/images/nobody/files/1", "reader", "", 404, "the picture of message nobody"},
	} {
		w := call(g.handler, tc.method, tc.path, tc.key, tc.body)
		if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.said) {
			t.Errorf("%s: %d %s; want %d with %q", tc.name, w.Code, w.Body, tc.status, tc.said)
		}
	}
	if left := g.jobs(); len(left) > 0 {
		t.Errorf("jobs: %+v", left)
	}
}

// What cannot be made durable is refused.
func TestPictureWithoutNATS(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	q, err := queue.New(server.JetStream(), queue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	handler := surface(t, messageapi.Config{Queue: q, Timeout: 300 * time.Millisecond})
	if w := call(handler, http.MethodPost, "/v1/images", "writer", body); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "is a worker running?") {
		t.Errorf("without streams: %d %s", w.Code, w.Body)
	}
	server.Stop()
	for method, path := range map[string]string{http.MethodPost: "/v1/images", http.MethodGet: "/v1/images/m"} {
		if w := call(handler, method, path, "writer", body); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", method, w.Code, w.Body)
		}
	}
	if w := call(handler, http.MethodGet, "/v1/images/m/files/1", "writer", ""); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "no such route") {
		t.Errorf("files without a sink: %d %s", w.Code, w.Body)
	}
}

func TestFilesOfPicture(t *testing.T) {
	t.Parallel()
	g := newGallery(t)
	message := "A/b"
	g.post(`{"messageId":"A/b","userId":"u"}`)
	if w := call(g.handler, http.MethodGet, "/v1/images/A%2Fb/files/1", "reader", ""); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "which is pending") {
		t.Errorf("before it is there: %d %s", w.Code, w.Body)
	}
	const content = "\x89PNG"
	place := "images/" + jobs.ImageKey(message) + "/1.png"
	to, err := g.files.Create(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := to.Commit(); err != nil {
		t.Fatal(err)
	}
	g.finish(message, func(image *jobs.Image) {
		image.State = jobs.ImageReady
		image.Files = []jobs.ImageFile{
			{Path: place, ContentType: "image/png", Bytes: 4, SHA256: "abc"}, {Path: "images/gone/2.gif", ContentType: "image/gif", Bytes: 1, SHA256: "def"},
		}
	})
	for _, name := range []string{"1", "1.png"} {
		w := call(g.handler, http.MethodGet, "/v1/images/A%2Fb/files/"+name, "reader", "")
		header := w.Header()
		if w.Code != http.StatusOK || w.Body.String() != content || header.Get("Content-Type") != "image/png" || header.Get("Content-Length") != "4" || header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %q, %v", name, w.Code, w.Body, header)
		}
		if w := call(g.handler, http.MethodGet, "/v1/images/A%2Fb/files/"+name, "reader", "", "If-None-Match", header.Get("ETag")); w.Code != http.StatusNotModified || w.Body.Len() > 0 {
			t.Errorf("%s, known: %d %q", name, w.Code, w.Body)
		}
	}
	for _, name := range []string{"0", "3", "2.png", "2", "..%2F..%2Fx", "1.PNG"} {
		if w := call(g.handler, http.MethodGet, "/v1/images/A%2Fb/files/"+name, "reader", ""); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d %q", name, w.Code, w.Body)
		}
	}
}

func TestPicturesHeedIdempotencyKeys(t *testing.T) {
	t.Parallel()
	api, err := messageapi.New(messageapi.Config{Queue: newGallery(t).queue})
	if err != nil {
		t.Fatal(err)
	}
	for _, route := range api.Routes() {
		if route.Pattern == "POST /v1/images" && route.Idempotent {
			return
		}
	}
	t.Error("POST /v1/images does not")
}
