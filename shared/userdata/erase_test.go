package userdata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"xinghe/shared/httpapi"
	"xinghe/shared/idempotency"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/sink"
	"xinghe/testlocal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

// house holds data of the users u and v.
type house struct {
	*Holder
	t     *testing.T
	queue *queue.Queue
	files sink.Sink
}

func newHouse(t *testing.T) *house {
	t.Helper()
	srv := natstest.New(t)
	h := &house{t: t, files: folder(t)}
	var err error
	if h.queue, err = queue.New(srv.JetStream(), queue.Config{}); err != nil {
		t.Fatal(err)
	}
	if err := h.queue.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h.Holder, err = New(Config{Conn: srv.Connect(), Sink: h.files, Timeout: 30 * time.Second, Now: func() time.Time { return noon }}); err != nil {
		t.Fatal(err)
	}
	h.filling = 0 // the disk is not looked at
	return h
}

func (h *house) put(bucket, key string, value any) {
	h.t.Helper()
	store, err := queue.OpenStore[any](h.queue, bucket, queue.StoreConfig{})
	if err == nil {
		_, err = store.Put(h.t.Context(), key, value)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) event(kind string, data any) {
	h.t.Helper()
	event, err := jobs.NewEvent(kind, "", "/test", "", noon, data)
	if err != nil {
		h.t.Fatal(err)
	}
	text, err := json.Marshal(event)
	if err == nil {
		err = h.queue.PublishEvent(h.t.Context(), jobs.EventPrefix+kind, "", text)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// chat is what is held of an answer: an event, an entry of the directory, a picture, a rating.
func (h *house) chat(user, character, message string) {
	h.t.Helper()
	bot := jobs.Bot(jobs.BotCharacter, character)
	h.event(jobs.EventChatCompleted, jobs.ChatEvent{Bot: bot, UserID: user, MessageID: message, Text: "words of " + user})
	key, _ := jobs.DirectoryKey(bot, user)
	h.put(jobs.BucketDirectory, key, jobs.DirectoryEntry{Bot: bot, UserID: user})
	picture := jobs.Image{MessageID: message, UserID: user, State: jobs.ImageReady}
	h.put(jobs.BucketImages, jobs.ImageKey(message), picture)
	h.event(jobs.EventImageReady, picture)
	put(h.t, h.files, "images/"+jobs.ImageKey(message)+"/1.png", "picture of "+user)
	h.put(jobs.BucketRatings, "rows.rat_"+message+".0", jobs.RatingChunk{Rows: []jobs.RatingRow{{MessageID: message, Info: "words of " + user}, {Row: 1, MessageID: "other"}}})
	h.put(jobs.BucketRatings, jobs.RatingLastKey(message), jobs.RatingLast{Order: 1})
}

// export makes one of the users u and v, of which each has a window and a part.
func (h *house) export(number int, state jobs.State, previous *jobs.ManifestRef) string {
	h.t.Helper()
	e := jobs.Export{
		ID: fmt.Sprintf("exp_%026d", number), State: state, Name: "u", Round: 1,
		Spec: jobs.ExportSpec{Name: "u", Characters: jobs.Names{"c"}, Users: jobs.Names{"u", "v"}, Sink: jobs.Sink{Path: "n"}}, Range: &jobs.Range{},
	}
	m := jobs.Manifest{Version: 1, ID: e.ID, Spec: e.Spec, Complete: true, Rows: 2, Previous: previous}
	for i, user := range e.Spec.Users {
		part := jobs.Part{Path: fmt.Sprintf("%s/day=1/%06d-00000.jsonl", e.Folder(), i), Window: i, Rows: 1, Bytes: 10}
		put(h.t, h.files, part.Path, fmt.Sprintf(`{"messageId":"in-export-%s","userId":%q}`, user, user))
		m.Parts = append(m.Parts, part)
		m.Windows = append(m.Windows, jobs.WindowCount{Number: i, CharacterID: "c", UserID: user, TotalBefore: 1, TotalAfter: 1, Rows: 1})
		h.put(jobs.BucketWindows, fmt.Sprintf("%s.%d", e.ID, i), jobs.WindowResult{Number: i, Done: true, Window: m.Windows[i], Parts: m.Parts[i:]})
	}
	text, err := json.Marshal(m)
	if err != nil {
		h.t.Fatal(err)
	}
	e.Progress.Rows = 2
	put(h.t, h.files, e.Folder()+"/manifest.json", string(text))
	h.put(jobs.BucketExports, e.ID, e)
	return e.ID
}

func (h *house) sha256(id string) string {
	h.t.Helper()
	m, err := readManifest(h.t.Context(), h.files, "n/"+id+"/manifest.json", &matcher{})
	if err != nil {
		h.t.Fatal(err)
	}
	return m.sha256
}

// answer keeps what was answered to a request.
func (h *house) answer(bucket, id, body string) {
	h.t.Helper()
	answers, err := idempotency.New(idempotency.Config{Queue: h.queue, Bucket: bucket})
	if err != nil {
		h.t.Fatal(err)
	}
	held, err := answers.Reserve(h.t.Context(), id, "digest")
	if err == nil {
		err = answers.Keep(h.t.Context(), held, httpapi.Answer{Status: 200, Body: []byte(body)})
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// fill makes all sorts of things be held, of a chain of exports too.
func (h *house) fill() {
	h.t.Helper()
	h.chat("u", "c", "mu")
	h.chat("v", "c", "mv")
	first := h.export(1, jobs.StateDone, nil)
	second := h.export(2, jobs.StatePartial, &jobs.ManifestRef{ID: first, SHA256: h.sha256(first)})
	h.put(jobs.BucketMarks, "daily", jobs.Mark{ExportID: second, SHA256: h.sha256(second)})
	h.put(jobs.BucketPlans, second+".p.0", jobs.PlanChunk{Pairs: [][2]string{{"c", "u"}, {"c", "v"}}})
	h.put(jobs.BucketRatings, "rows.rat_export.0", jobs.RatingChunk{Rows: []jobs.RatingRow{{MessageID: "in-export-u", Info: "words of u"}}})
	h.answer(idempotency.Bucket, "1", `{"userId":"u"}`)
	h.answer("xinghe_webhook_ids", "1", `{"messageId":"mu","text":"words of u"}`)
	h.answer("xinghe_webhook_ids", "2", `{"messageId":"mv"}`)
	h.put(queue.BucketAttempts, "XINGHE_JOBS.x.1", map[string]any{"failures": []any{map[string]any{"error": "history of user u: 502"}}})
}

func (h *house) find(user User) Report {
	h.t.Helper()
	report, err := h.Find(h.t.Context(), user)
	if err != nil {
		h.t.Fatal(err)
	}
	return report
}

// A process that dies anywhere leaves what the next one completes.
func TestEraseIsCompletedAfterADeath(t *testing.T) {
	t.Parallel()
	user := User{ID: "u"}
	for _, died := range []int{3, 12, 1000} {
		h := newHouse(t)
		h.fill()
		others := h.find(User{ID: "v"})
		var items []item
		f := &finder{Holder: h.Holder, matcher: newMatcher(user)}
		if _, err := h.Holder.find(t.Context(), f, func(i item) error {
			items = append(items, i)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for _, i := range items[:min(died, len(items))] {
			if err := f.erase(t.Context(), i); err != nil {
				t.Fatal(err)
			}
		}
		report, err := h.Erase(t.Context(), user)
		if err != nil || len(report.Left) != 0 {
			t.Fatalf("died after %d: %+v %v", died, report, err)
		}
		if left := h.find(user); len(left.Found) != 0 {
			t.Errorf("died after %d: %+v", died, left.Found)
		}
		// What can be found by nothing but the user's messages is gone as well.
		if left := h.saying("words of u"); len(left) != 0 {
			t.Errorf("died after %d: left: %q", died, left)
		}
		h.proven()
		now := h.find(User{ID: "v"})
		if diff := cmp.Diff(counts(others), counts(now)); diff != "" {
			t.Errorf("died after %d: of the other user (- before, + after): %s", died, diff)
		}
	}
}

// saying are the subjects of messages that hold a text.
func (h *house) saying(text string) (subjects []string) {
	h.t.Helper()
	streams, err := h.streams(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	for _, stream := range streams {
		for m, err := range h.messages(h.t.Context(), stream, ">") {
			if err != nil {
				h.t.Fatal(err)
			}
			if strings.Contains(string(m.data), text) {
				subjects = append(subjects, m.subject)
			}
		}
	}
	return subjects
}

// counts of a report, without sizes: what a user was listed in beside another is shorter.
func counts(r Report) (list []string) {
	for _, c := range r.Found {
		list = append(list, fmt.Sprint(c.Place, " ", c.Kind, " ", c.Count))
	}
	return list
}

// proven checks that each manifest still refers to the one before it, and the mark to the last.
func (h *house) proven() {
	h.t.Helper()
	first, second := fmt.Sprintf("exp_%026d", 1), fmt.Sprintf("exp_%026d", 2)
	m, err := readManifest(h.t.Context(), h.files, "n/"+second+"/manifest.json", &matcher{})
	if err != nil || m.previous.SHA256 != h.sha256(first) || m.rows != 1 {
		h.t.Errorf("%+v %v; the first has %s", m, err, h.sha256(first))
	}
	store, err := queue.OpenStore[jobs.Mark](h.queue, jobs.BucketMarks, queue.StoreConfig{})
	if err != nil {
		h.t.Fatal(err)
	}
	if mark, err := store.Get(h.t.Context(), "daily"); err != nil || mark.Value.SHA256 != h.sha256(second) {
		h.t.Errorf("%+v %v", mark, err)
	}
	exports, err := queue.OpenStore[jobs.Export](h.queue, jobs.BucketExports, queue.StoreConfig{})
	if err != nil {
		h.t.Fatal(err)
	}
	e, err := exports.Get(h.t.Context(), second)
	if err != nil || e.Value.Progress.Rows != 1 || e.Value.Name != "u" || !cmp.Equal(e.Value.Spec.Users, jobs.Names{Erased, "v"}) {
		h.t.Errorf("%+v %v", e, err)
	}
}

// A manifest that was tampered with stays known for it.
func TestEraseHidesNoTampering(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first := h.export(1, jobs.StateDone, nil)
	second := h.export(2, jobs.StateDone, &jobs.ManifestRef{ID: first, SHA256: "0123"})
	if _, err := h.Erase(t.Context(), User{ID: "u"}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, h.files, "n/"+second+"/manifest.json"); !strings.Contains(got, `"sha256":"0123"`) {
		t.Errorf("%s", got)
	}
}

func TestEraseOfOneBot(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.chat("u", "c", "mc")
	h.chat("u", "d", "md")
	h.export(1, jobs.StateDone, nil)
	other := h.find(User{ID: "u", Bot: "character:d"})
	report, err := h.Erase(t.Context(), User{ID: "u", Bot: "character:c"})
	if err != nil || len(report.Left) != 0 || len(report.Files) != 2 {
		t.Errorf("%+v %v", report, err)
	}
	if diff := cmp.Diff(other, h.find(User{ID: "u", Bot: "character:d"})); diff != "" || len(other.Found) < 6 {
		t.Errorf("of the other bot: %s", diff)
	}
}

func TestEraseLeavesNoMarkOfAnEntryThatWasForgotten(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.chat("u", "c", "mu")
	store, err := queue.OpenStore[jobs.DirectoryEntry](h.queue, jobs.BucketDirectory, queue.StoreConfig{})
	if err != nil {
		t.Fatal(err)
	}
	key, _ := jobs.DirectoryKey("character:c", "u")
	if err := store.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Erase(t.Context(), User{ID: "u"}); err != nil {
		t.Fatal(err)
	}
	stream, err := h.js.Stream(t.Context(), bucketStream+jobs.BucketDirectory)
	if err != nil || stream.CachedInfo().State.Msgs != 0 {
		t.Errorf("%+v %v", stream.CachedInfo().State, err)
	}
}

func TestEraseWaitsForNobody(t *testing.T) {
	t.Parallel()
	running := jobs.Export{ID: "exp_1", State: jobs.StateRunning, Spec: jobs.ExportSpec{Characters: jobs.Names{"my"}, Users: jobs.Names{"directory"}, Sink: jobs.Sink{Path: "n"}}}
	for name, prepare := range map[string]func(h *house) string{
		"a picture": func(h *house) string {
			h.publish(jobs.SubjectImage+"m", jobs.ImageJob{ImageRequest: jobs.ImageRequest{MessageID: "m", UserID: "u"}})
			return "job xinghe.jobs.image.m"
		},
		"a rating": func(h *house) string {
			h.publish(jobs.SubjectRating+"rat_mu.0", jobs.RatingTask{ID: "rat_mu"})
			return "job xinghe.jobs.rating.rat_mu.0"
		},
		"a delivery": func(h *house) string {
			h.publish(jobs.SubjectDelivery+"shop", map[string]any{"data": map[string]any{"who": "u"}})
			return "job xinghe.jobs.delivery.shop"
		},
		"an export that may read the user": func(h *house) string {
			h.put(jobs.BucketExports, running.ID, running)
			return "export exp_1 (running)"
		},
		"an export of a list with the user": func(h *house) string {
			e := running
			e.Range, e.Plan = &jobs.Range{}, "exp_1.p"
			h.put(jobs.BucketExports, e.ID, e)
			h.put(jobs.BucketPlans, "exp_1.p.0", jobs.PlanChunk{Pairs: [][2]string{{"c", "u"}}})
			return "export exp_1 (running)"
		},
		"an export of a list without the user": func(h *house) string {
			e := running
			e.Range, e.Plan = &jobs.Range{}, "exp_1.p"
			h.put(jobs.BucketExports, e.ID, e)
			h.put(jobs.BucketPlans, "exp_1.p.0", jobs.PlanChunk{Pairs: [][2]string{{"c", "v"}}})
			return ""
		},
		"another export": func(h *house) string {
			e := running
			e.Spec.Users = jobs.Names{"v"}
			h.put(jobs.BucketExports, e.ID, e)
			return ""
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.chat("u", "c", "mu")
			want := prepare(h)
			before := h.find(User{ID: "u"})
			report, err := h.Erase(t.Context(), User{ID: "u"})
			if want == "" {
				if err != nil || len(report.Busy) != 0 {
					t.Errorf("%+v %v", report, err)
				}
				return
			}
			if !errors.Is(err, ErrBusy) || len(report.Busy) != 1 || report.Busy[0] != want {
				t.Errorf("%q %v; want %q", report.Busy, err, want)
			}
			if diff := cmp.Diff(before, h.find(User{ID: "u"})); diff != "" {
				t.Errorf("something was erased: %s", diff)
			}
		})
	}
}

func (h *house) publish(subject string, value any) {
	h.t.Helper()
	data, err := json.Marshal(value)
	if err == nil {
		err = h.queue.Publish(h.t.Context(), queue.Job{Subject: subject, Data: data})
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

func TestWhatNobodyKnowsIsLeftAndTold(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.put("xinghe_new", "k", map[string]any{"userId": "u"})
	put(t, h.files, "images/lost/1.png", "whose?")
	report, err := h.Erase(t.Context(), User{ID: "u"})
	want := []Count{{Place: "bucket xinghe_new", Kind: "unknown", Fate: FateLeft, Count: 1, Bytes: 14}}
	if diff := cmp.Diff(want, report.Left); diff != "" || err != nil || len(report.Notes) != 2 {
		t.Errorf("%s %+v %v", diff, report, err)
	}
}

// Whoever changes a key in between is not overwritten.
func TestChangeMindsOthers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.put(jobs.BucketMarks, "k", 1)
	stream, err := h.js.Stream(t.Context(), bucketStream+jobs.BucketMarks)
	if err != nil {
		t.Fatal(err)
	}
	f := &finder{Holder: h.Holder, streams: map[string]jetstream.Stream{bucketStream + jobs.BucketMarks: stream}}
	tries := 0
	err = f.change(t.Context(), bucketStream+jobs.BucketMarks, "k", func(data []byte) ([]byte, error) {
		if tries++; tries == 1 {
			h.put(jobs.BucketMarks, "k", 2)
		}
		return append([]byte("1"), data...), nil
	})
	msg, getErr := stream.GetLastMsgForSubject(t.Context(), subjectKV+jobs.BucketMarks+".k")
	if err != nil || getErr != nil || tries != 2 || string(msg.Data) != "12" {
		t.Errorf("%d tries, %s, %v %v", tries, msg.Data, err, getErr)
	}
}

func TestUsersThatCannotBe(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, user := range []User{{}, {ID: Erased}, {ID: "u", Bot: "c"}} {
		_, find := h.Find(t.Context(), user)
		_, erase := h.Erase(t.Context(), user)
		_, export := h.Export(t.Context(), user, folder(t))
		if find == nil || erase == nil || export == nil {
			t.Errorf("%+v: %v %v %v", user, find, erase, export)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("a holder of nothing")
	}
}

func TestContextEndsTheSearch(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.fill()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Find(ctx, User{ID: "u"}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func Example() {
	srv, stop := natstest.Example()
	defer stop()
	q, err := queue.Open(queue.ConnConfig{Options: srv.Options()}, queue.Config{})
	if err != nil {
		panic(err)
	}
	defer q.Close()
	nc, err := queue.Connect(queue.ConnConfig{Options: srv.Options()})
	if err != nil {
		panic(err)
	}
	defer nc.Close()
	ctx := context.Background()
	files, err := sink.NewFolder("no such folder")
	if err == nil {
		err = q.Ensure(ctx)
	}
	if err == nil {
		err = q.PublishEvent(ctx, "xinghe.events.chat.completed", "1", []byte(`{"data":{"bot":"beebot:b","userId":"小明","text":"你好"}}`))
	}
	if err != nil {
		fmt.Println(err)
		return
	}

	holder, err := New(Config{Conn: nc, Sink: files})
	if err != nil {
		fmt.Println(err)
		return
	}
	report, err := holder.Erase(ctx, User{ID: "小明"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range report.Found {
		fmt.Println(c.Place, c.Kind, c.Fate, c.Count)
	}
	fmt.Println("left:", len(report.Left))
	// Output:
	// stream XINGHE_EVENTS chat.completed removed 1
	// left: 0
}
