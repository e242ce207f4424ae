package image_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/sign"
	"xinghe/shared/xingchen"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/fault"
	emulated "xinghe/testlocal/emulator/xingchen"
)

// fate is what happens to pictures, and what must become of them. The user's name is the
// fate's: by it the emulator's faults are chosen.
type fate struct {
	user   string
	every  int // one of so many pictures
	state  jobs.ImageState
	reason string
	// serve changes the nth answer of the server of files, which holds a PNG.
	serve func(nth int, answer *httptest.ResponseRecorder)
}

func fates() []fate {
	body := func(kind string, data []byte) func(int, *httptest.ResponseRecorder) {
		return func(_ int, answer *httptest.ResponseRecorder) {
			answer.Header().Set("Content-Type", kind)
			answer.Body = bytes.NewBuffer(data)
		}
	}
	first := func(status int) func(int, *httptest.ResponseRecorder) {
		return func(nth int, answer *httptest.ResponseRecorder) {
			if nth == 1 {
				answer.Code, answer.Body = status, bytes.NewBufferString("{}")
			}
		}
	}
	return []fate{
		{user: "stuck", every: 20, state: jobs.ImageFailed, reason: `no picture within`},
		{user: "failed", every: 19, state: jobs.ImageFailed, reason: "the picture could not be made"},
		{user: "expired", every: 17, state: jobs.ImageExpired, reason: "expired"},
		{user: "page", every: 23, state: jobs.ImageFailed, reason: "text/html", serve: body("image/png", []byte("<html><body>no</body></html>"))},
		{user: "huge", every: 29, state: jobs.ImageFailed, reason: "larger than allowed", serve: func(_ int, answer *httptest.ResponseRecorder) {
			answer.Body.Write(make([]byte, maxPicture))
		}},
		{user: "mislabelled", every: 13, state: jobs.ImageReady, serve: func(_ int, answer *httptest.ResponseRecorder) {
			answer.Header().Set("Content-Type", "application/json")
		}},
		{user: "stale", every: 11, state: jobs.ImageReady, serve: first(http.StatusForbidden)},
		{user: "flaky", every: 7, state: jobs.ImageReady, serve: first(http.StatusServiceUnavailable)},
		{user: "good", every: 1, state: jobs.ImageReady},
	}
}

// maxPicture is the size that pictures may have, in bytes.
const maxPicture = 200 << 10

// studio is the emulator, whose files pass through the fates.
type studio struct {
	emulator *emulator.Emulator

	mu     sync.Mutex
	fates  map[string]fate   // by message
	asked  map[string]int    // for a message's file
	served map[string][]byte // what was served last
}

func (s *studio) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutPrefix(r.URL.Path, emulated.FilesPath)
	if !ok {
		s.emulator.ServeHTTP(w, r)
		return
	}
	answer := httptest.NewRecorder()
	s.emulator.ServeHTTP(answer, r)
	message := strings.TrimSuffix(name, ".png")
	s.mu.Lock()
	s.asked[message]++
	if change := s.fates[message].serve; change != nil && answer.Code == http.StatusOK {
		change(s.asked[message], answer)
	}
	s.served[message] = bytes.Clone(answer.Body.Bytes())
	s.mu.Unlock()
	maps.Copy(w.Header(), answer.Header())
	w.Header().Del("Content-Length")
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// paint makes upstream draw n pictures, and returns the client to ask for them.
func (s *studio) paint(t *testing.T, n int) *xingchen.Client {
	t.Helper()
	server := httptest.NewServer(s)
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	client, err := xingchen.New(xingchen.Config{BaseURL: server.URL, APIKey: sign.NewSecret(emulator.DefaultXingchenKey), Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	all := fates()
	unused := false
	for i := range n {
		which := all[slices.IndexFunc(all, func(f fate) bool { return i%f.every == 0 })]
		result, err := client.Chat(t.Context(), xingchen.ChatRequest{Input: xingchen.ChatInput{
			Messages: []xingchen.Message{{Role: "user", Content: "画"}},
			ACA: xingchen.ACA{
				BotProfile: xingchen.BotProfile{CharacterID: "c39797a35ad243f1a85baaa6e1ec37e0"}, UserProfile: xingchen.UserProfile{UserID: which.user},
				Context: &xingchen.ChatContext{UseChatHistory: &unused},
			},
		}})
		if err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		s.fates[result.Context.Answer()] = which
		s.mu.Unlock()
	}
	return client
}

func newStudio(t *testing.T) *studio {
	t.Helper()
	const poll = "/v2/api/chat/polling/image"
	emu, err := emulator.New(emulator.Config{
		Pace: emulator.NoPace, RequestLog: -1,
		Assume: emulator.Assumptions{Xingchen: emulated.Assumptions{ImageDelay: 200 * time.Millisecond}},
		Faults: fault.Set{Seed: 7, Rules: []fault.Rule{
			{Route: poll, User: "stuck", Fault: fault.ImageStuck},
			{Route: poll, User: "failed", Fault: fault.ImageFailed},
			{Route: poll, User: "expired", Fault: fault.ImageExpired},
			{Route: poll, Share: 0.02, Fault: fault.Throttle},
			{Route: poll, Share: 0.02, Fault: fault.BadGateway},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := emu.Close(); err != nil {
			t.Error(err)
		}
	})
	return &studio{emulator: emu, fates: map[string]fate{}, asked: map[string]int{}, served: map[string][]byte{}}
}

// Every job ends in the right state, and what is stored is what was served.
func TestManyPictures(t *testing.T) {
	t.Parallel()
	studio := newStudio(t)
	client := studio.paint(t, thousand)
	b := setup(t, nil)
	cfg := b.config()
	cfg.Pictures, cfg.Egress.MaxBytes = client, maxPicture
	cfg.FirstPoll, cfg.LongestPoll, cfg.Deadline, cfg.Attempts = 20*time.Millisecond, 500*time.Millisecond, 3*time.Second, 5
	var queued []queue.Job
	for message, fate := range studio.fates {
		data, err := json.Marshal(jobs.ImageJob{
			ImageRequest: jobs.ImageRequest{MessageID: message, UserID: fate.user}, Round: 1, RequestedAt: time.Now().UTC(),
		})
		if err != nil {
			t.Fatal(err)
		}
		queued = append(queued, queue.Job{Subject: jobs.SubjectImage + jobs.ImageKey(message), Data: data, Unique: true})
	}
	if err := b.queue.PublishAll(t.Context(), queued); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		b.start(cfg)
	}
	b.drained()
	ended := map[string]int{}
	for entry, err := range b.images.List(t.Context(), ">") {
		if err != nil {
			t.Fatal(err)
		}
		ended[string(entry.Value.State)]++
		studio.check(b, entry.Value)
	}
	var want []string
	for message, fate := range studio.fates {
		kind := jobs.EventImageFailed
		if fate.state == jobs.ImageReady {
			kind = jobs.EventImageReady
		}
		want = append(want, fmt.Sprintf("xinghe.%s %s %s", kind, message, fate.state))
	}
	got := b.events()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d events are not the %d that were to be", len(got), len(want))
	}
	if files := b.names(); len(files) != ended[string(jobs.ImageReady)] {
		t.Errorf("%d files of %d pictures", len(files), ended[string(jobs.ImageReady)])
	}
	t.Logf("%d pictures: %v", thousand, ended)
}

// check holds the end of a picture against its fate.
func (s *studio) check(b *bundle, image jobs.Image) {
	b.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	fate, known := s.fates[image.MessageID]
	if !known || image.State != fate.state || !strings.Contains(value(image.Error), fate.reason) {
		b.t.Errorf("%s: %s, %q; want %s for %q", fate.user, image.State, value(image.Error), fate.state, fate.reason)
		return
	}
	if image.State != jobs.ImageReady {
		return
	}
	if len(image.Files) != 1 || image.Files[0].ContentType != "image/png" || image.Files[0].Path != "images/"+image.MessageID+"/1.png" {
		b.t.Errorf("%s: %+v", fate.user, image.Files)
		return
	}
	if !bytes.Equal(b.stored(image.Files[0]), s.served[image.MessageID]) {
		b.t.Errorf("%s: %s is stored otherwise than it was served", fate.user, image.Files[0].Path)
	}
}
