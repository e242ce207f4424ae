package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/userdata"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/xingchen"
	"xinghe/testlocal/natstest"
	"xinghe/testlocal/stack"
)

// Two users of whom all sorts of things are held, and a character that draws.
const (
	leaves, stays = "user-leaves-7d1", "user-stays-9a4"
	leavesText    = "秘密是翡翠金字塔"
	staysText     = "秘密是琥珀灯塔"
	painter       = "c39797a35ad243f1a85baaa6e1ec37e0"
)

// household is a stack that holds data of users.
type household struct {
	*system
	vars  map[string]string
	queue *queue.Queue
}

func startHousehold(t *testing.T) *household {
	t.Helper()
	vars := map[string]string{
		"XINGHE_ADDR": "127.0.0.1:0", "XINGHE_EMULATOR_ADDR": "127.0.0.1:0", "XINGHE_NATS_ADDR": "127.0.0.1:0",
		"XINGHE_DATA": t.TempDir(), "XINGHE_API_KEYS": "canary-key", "XINGHE_EVENT_TEXT": "true", "XINGHE_IMAGE_FIRST_POLL": "10ms",
	}
	s, err := stack.Start(t.Context(), stack.Config{
		Getenv: func(name string) string { return vars[name] }, Log: io.Discard,
		Emulator: emulator.Config{Pace: emulator.NoPace, Assume: emulator.Assumptions{Xingchen: xingchen.Assumptions{ImageDelay: -1}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &household{system: &system{Stack: s, t: t, character: painter}}
	h.vars = map[string]string{"NATS_URL": s.NATSURL, "XINGHE_SINK": "folder:" + s.Exports, "XINGHE_URL": "not looked at"}
	if h.queue, err = queue.Open(queue.ConnConfig{URL: s.NATSURL}, queue.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.queue.Close)
	return h
}

// post calls the deployment and decodes the answer.
func (h *household) post(path string, body, answer any, header ...string) {
	h.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		h.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.URL+path, bytes.NewReader(text))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer canary-key")
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= http.StatusBadRequest || json.Unmarshal(got, answer) != nil {
		h.t.Fatalf("%s: %d %s %v", path, resp.StatusCode, got, err)
	}
}

// say lets a user talk, and returns the id of the answer.
func (h *household) say(user, text string) string {
	h.t.Helper()
	var answer struct {
		Data struct{ Context struct{ MessageID string } }
	}
	h.post("/v2/api/chat/send", map[string]any{"input": map[string]any{
		"messages": []any{map[string]any{"role": "user", "content": text}},
		"aca":      map[string]any{"botProfile": map[string]any{"characterId": painter}, "userProfile": map[string]any{"userId": user}},
	}}, &answer)
	return answer.Data.Context.MessageID
}

// variants are the formats and compressions of exports.
var variants = [][2]string{
	{jobs.FormatJSONL, jobs.CompressionNone},
	{jobs.FormatJSONL, jobs.CompressionGzip},
	{jobs.FormatCSV, jobs.CompressionNone},
	{jobs.FormatCSV, jobs.CompressionZstd},
	{jobs.FormatParquet, ""},
	{jobs.FormatShareGPT, jobs.CompressionNone},
	{jobs.FormatOpenAI, jobs.CompressionGzip},
}

// live makes all sorts of things be held of both users.
func (h *household) live(variants [][2]string) (exports []jobs.Export) {
	h.t.Helper()
	var rows []any
	for user, text := range map[string]string{leaves: leavesText, stays: staysText} {
		h.say(user, text)
		message := h.say(user, "给我画一张"+text)
		rows = append(rows, map[string]any{"messageId": message, "rating": 1, "info": "不好: " + text})
		var image jobs.Image
		h.post("/v1/images", jobs.ImageRequest{MessageID: message, UserID: user}, &image, "Idempotency-Key", "image-"+message)
		h.until("a picture", func() bool {
			entry, err := store[jobs.Image](h, jobs.BucketImages).Get(h.t.Context(), jobs.ImageKey(message))
			return err == nil && entry.Value.State == jobs.ImageReady
		})
		h.bury(user)
	}
	var ratings jobs.RatingState
	h.post("/v1/ratings", rows, &ratings, "Idempotency-Key", "ratings")
	h.until("ratings", func() bool {
		entry, err := store[jobs.RatingResult](h, jobs.BucketRatings).Get(h.t.Context(), "done."+ratings.ID+".0")
		return err == nil && entry.Value.Ended()
	})
	h.noted(leaves, stays)
	for i, variant := range variants {
		spec := jobs.ExportSpec{
			Name: fmt.Sprint("e", i), Characters: jobs.Names{painter}, Users: jobs.Names{leaves, stays}, Format: variant[0], Compression: variant[1],
			From: time.Now().Add(-time.Hour), Watermark: &jobs.Watermark{Name: "daily", Lookback: jobs.Duration(time.Hour), Lag: jobs.Duration(time.Millisecond)},
		}
		if i > 1 {
			spec.Partition = &jobs.Partition{By: []string{jobs.PartitionCharacter, jobs.PartitionDay}}
			spec.Redact = &jobs.Redact{Kinds: []string{jobs.RedactPhone}}
		}
		if i%2 == 1 {
			spec.Users = jobs.Names{jobs.UsersDirectory}
		}
		text, err := json.Marshal(spec)
		if err != nil {
			h.t.Fatal(err)
		}
		exports = append(exports, h.exported(string(text), 0))
	}
	h.idle()
	return exports
}

// noted waits until users stand in the directory.
func (h *household) noted(users ...string) {
	h.t.Helper()
	for _, user := range users {
		key, _ := jobs.DirectoryKey(jobs.Bot(jobs.BotCharacter, painter), user)
		h.until("an entry of the directory", func() bool {
			_, err := store[jobs.DirectoryEntry](h, jobs.BucketDirectory).Get(h.t.Context(), key)
			return err == nil
		})
	}
}

// idle waits until no job waits or runs: what an export tells of its end comes after that.
func (h *household) idle() {
	h.t.Helper()
	conn, err := queue.Connect(queue.ConnConfig{URL: h.NATSURL})
	if err != nil {
		h.t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		h.t.Fatal(err)
	}
	h.until("an end of all jobs", func() bool {
		stream, err := js.Stream(h.t.Context(), queue.StreamJobs)
		return err == nil && stream.CachedInfo().State.Msgs == 0
	})
}

// bury puts a job of the user's that nobody can do among the dead letters.
func (h *household) bury(user string) {
	h.t.Helper()
	if err := h.queue.Publish(h.t.Context(), queue.Job{Subject: jobs.SubjectImage + "bad", Data: fmt.Appendf(nil, `{"messageId":1,"userId":%q}`, user)}); err != nil {
		h.t.Fatal(err)
	}
	h.until("a dead letter", func() bool {
		for letter, err := range h.queue.DeadLetters(h.t.Context(), "") {
			if err == nil && strings.Contains(string(letter.Data), user) {
				return true
			}
		}
		return false
	})
}

func store[T any](h *household, bucket string) *queue.Store[T] {
	h.t.Helper()
	s, err := queue.OpenStore[T](h.queue, bucket, queue.StoreConfig{})
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

func (h *household) until(what string, done func() bool) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	for !done() {
		if err := queue.Pause(ctx, 10*time.Millisecond); err != nil {
			h.t.Fatalf("there is never %s", what)
		}
	}
}

// keep runs a command about users.
func (h *household) keep(args ...string) (result, userdata.Report) {
	h.t.Helper()
	got := commandWith(h.t, h.vars, "", append([]string{"user"}, args...)...)
	var report userdata.Report
	if got.stdout != "" {
		if err := json.Unmarshal([]byte(got.stdout), &report); err != nil {
			h.t.Fatalf("%+v: %v", got, err)
		}
	}
	return got, report
}

// places are the files below the stack's data in which a text stands, beside the emulator's,
// which stands for a service that is not ours.
func (h *household) places(texts ...string) (places []string) {
	h.t.Helper()
	err := filepath.WalkDir(h.Data, func(place string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			if entry != nil && entry.Name() == "emulator" {
				return fs.SkipDir
			}
			return nil // a temporary file of the server's is gone
		}
		data, _ := os.ReadFile(place)
		for _, text := range texts {
			if strings.Contains(place, text) || bytes.Contains(data, []byte(text)) {
				relative, _ := filepath.Rel(h.Data, place)
				places = append(places, relative+" "+text)
			}
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return places
}

// messages are all that streams and buckets hold which name a text.
func (h *household) messages(texts ...string) (found []string) {
	h.t.Helper()
	conn, err := queue.Connect(queue.ConnConfig{URL: h.NATSURL})
	if err != nil {
		h.t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		h.t.Fatal(err)
	}
	for name := range js.StreamNames(h.t.Context()).Name() {
		stream, err := js.Stream(h.t.Context(), name)
		if err != nil {
			h.t.Fatal(err)
		}
		for sequence := uint64(1); sequence <= stream.CachedInfo().State.LastSeq; sequence++ {
			msg, err := stream.GetMsg(h.t.Context(), sequence)
			if err != nil {
				continue // it is gone
			}
			all := msg.Subject + string(msg.Data) + fmt.Sprint(msg.Header)
			if slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(all, text) }) {
				found = append(found, msg.Subject)
			}
		}
	}
	return found
}

func needles(user, text string) []string {
	return []string{user, base64.RawURLEncoding.EncodeToString([]byte(user)), strings.TrimPrefix(text, "秘密是")}
}

func TestUserIsErasedWithoutATrace(t *testing.T) {
	t.Parallel()
	h := startHousehold(t)
	exports := h.live(variants)
	gone, kept := needles(leaves, leavesText), needles(stays, staysText)
	if held := h.messages(gone...); len(held) < 10 {
		t.Fatalf("too little is held to prove anything: %q", held)
	}
	others := h.messages(kept...)

	dry, planned := h.keep("erase", leaves, "--dry-run")
	if dry.code != 0 || len(planned.Found) < 10 || len(h.messages(gone...)) < 10 {
		t.Errorf("%+v", dry)
	}
	got, report := h.keep("erase", leaves, "--yes")
	if got.code != 0 || len(report.Left) != 0 || len(report.Files) < 8 || fmt.Sprint(report.Found) != fmt.Sprint(planned.Found) {
		t.Errorf("%+v", got)
	}
	if left := h.messages(gone...); len(left) != 0 {
		t.Errorf("messages are left: %q", left)
	}
	// Of what is held of the other user only events are gone that told of both.
	shared := func(subject string) bool {
		return strings.HasPrefix(subject, jobs.EventPrefix+"export.") || strings.HasPrefix(subject, jobs.EventPrefix+"rating.")
	}
	if diff := cmp.Diff(slices.DeleteFunc(others, shared), slices.DeleteFunc(h.messages(kept...), shared)); diff != "" {
		t.Errorf("held of the other user (- before, + after): %s", diff)
	}
	for _, e := range exports {
		if got := h.run("", "export", "verify", e.ID); got.code != 0 || !strings.Contains(got.stdout, `"complete":true`) || !strings.Contains(got.stdout, `"findings":0`) || !strings.Contains(got.stdout, `"erasedRows":`) {
			t.Errorf("%+v", got)
		}
	}
	if again, report := h.keep("erase", leaves, "--yes"); again.code != 0 || len(report.Found) != 0 {
		t.Errorf("again: %+v", again)
	}
	// The server writes the last of its files when it stops.
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if left := h.places(gone...); len(left) != 0 {
		t.Errorf("files still hold it: %q", left)
	}
	if held := h.places(kept...); len(held) < 5 {
		t.Errorf("of the other user there is only %q", held)
	}
}

func TestUserIsHandedOut(t *testing.T) {
	t.Parallel()
	h := startHousehold(t)
	h.live(variants[:2])
	out := filepath.Join(t.TempDir(), "copy")
	got, report := h.keep("export", leaves, "--out", out)
	if got.code != 0 || len(report.Found) < 10 {
		t.Fatalf("%+v", got)
	}
	kinds, all := map[string]int{}, ""
	err := filepath.WalkDir(out, func(place string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(place)
		all += string(text)
		relative, _ := filepath.Rel(out, place)
		kinds[strings.Split(filepath.ToSlash(relative), "/")[0]]++
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range []string{"stream-XINGHE_EVENTS.jsonl", "bucket-xinghe_ratings.jsonl", "bucket-xinghe_directory.jsonl", "files.jsonl", "report.json"} {
		if kinds[list] != 1 {
			t.Errorf("there is no %s: %v", list, kinds)
		}
	}
	if kinds["files"] != len(report.Files) || !strings.Contains(all, leavesText) || !strings.Contains(all, "不好") {
		t.Errorf("%v of %q", kinds, report.Files)
	}
	for _, needle := range needles(stays, staysText) {
		if at := strings.Index(all, needle); at >= 0 {
			t.Errorf("%s of the other user is handed out: …%s", needle, all[max(at-300, 0):at])
		}
	}
	if again, _ := h.keep("export", leaves, "--out", out); again.code != 2 || !strings.Contains(again.stderr, "something in it already") {
		t.Errorf("%+v", again)
	}
}

func TestUserCommandsThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"give one of them":     {"erase", "u"},
		"one of them":          {"erase", "u", "--yes", "--dry-run"},
		"usage: xinghe user":   {"erase", "--yes"},
		"--out is missing":     {"export", "u"},
		"bot \"me\"":           {"erase", "u", "--yes", "--bot", "me"},
		"where do the workers": {"erase", "u", "--yes"},
		"at least 1ms":         {"erase", "u", "--yes", "--timeout", "0"},
		"not one":              {"erase", "", "--yes"},
		"which command":        {},
		"there is no command":  {"forget", "u"},
	} {
		got := commandWith(t, map[string]string{"XINGHE_DATA": t.TempDir()}, "", append([]string{"user"}, args...)...)
		if got.code != exitUsage || !strings.Contains(got.stderr, name) {
			t.Errorf("%q: %+v; want %q", args, got, name)
		}
	}
	vars := map[string]string{"XINGHE_SINK": "folder:" + t.TempDir(), "NATS_URL": "nats://127.0.0.1:1"}
	got := commandWith(t, vars, "", "user", "erase", "u", "--yes", "--timeout", "50ms")
	if got.code != exitFailed || !strings.Contains(got.stderr, "NATS does not answer") {
		t.Errorf("%+v", got)
	}
}

func TestReportForReading(t *testing.T) {
	t.Parallel()
	got := reportText("erased", userdata.Report{
		Found: []userdata.Count{{Place: "stream S", Kind: "chat\x1b", Fate: userdata.FateRemoved, Count: 2, Bytes: 1500}},
		Files: []string{"a/b"}, Busy: []string{"1", "2", "3", "4", "5", "6"}, Left: []userdata.Count{{Place: "files", Kind: "k", Fate: userdata.FateLeft, Count: 1}},
		Notes: []string{"n"},
	})
	for _, want := range []string{"erased:\nWHERE", "stream S  chat", "1.5 kB  removed\nfile a/b\n", "under way: 1, 2, 3, 4, 5 and 1 more\n", "still there:\n", "note: n\n"} {
		if !strings.Contains(got, want) || strings.Contains(got, "\x1b") {
			t.Errorf("%q; want %q", got, want)
		}
	}
	if got := reportText("erased", userdata.Report{}); got != "erased: nothing\n" {
		t.Errorf("%q", got)
	}
}

// An export that is resumed does not bring back what was erased.
func TestErasedUserStaysOutOfAResumedExport(t *testing.T) {
	t.Parallel()
	h := startHousehold(t)
	h.say(leaves, leavesText)
	h.say(stays, staysText)
	h.noted(leaves, stays)
	spec, err := json.Marshal(jobs.ExportSpec{
		Name: "partial", Characters: jobs.Names{painter, "c0000000000000000000000000000000"}, Users: jobs.Names{leaves, stays},
		From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	e := h.exported(string(spec), exitPartial)
	h.idle()
	if got, report := h.keep("erase", leaves, "--yes"); got.code != 0 || len(report.Left) != 0 {
		t.Fatalf("%+v", got)
	}
	got := h.run("", "export", "resume", "--wait", e.ID)
	again := h.last(got)
	if got.code != exitPartial || again.Progress.Rows >= e.Progress.Rows || again.Progress.Rows == 0 || !cmp.Equal(again.Spec.Users, jobs.Names{userdata.Erased, stays}) {
		t.Errorf("%+v, before %+v", again, e)
	}
	if got := h.run("", "export", "verify", e.ID); got.code != exitPartial || !strings.Contains(got.stdout, `"findings":0`) {
		t.Errorf("%+v", got)
	}
	if left := h.messages(needles(leaves, leavesText)...); len(left) != 0 {
		t.Errorf("messages are left: %q", left)
	}
}

func TestEraseWaitsForJobsUnderWay(t *testing.T) {
	t.Parallel()
	srv := natstest.Listen(t, "user", "canary")
	h := &household{system: &system{t: t}, vars: map[string]string{
		"NATS_URL": strings.Replace(srv.URL(), "nats://", "nats://user:canary@", 1), "XINGHE_SINK": "folder:" + t.TempDir(),
	}}
	var err error
	if h.queue, err = queue.Open(queue.ConnConfig{URL: h.vars["NATS_URL"]}, queue.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.queue.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := h.queue.Ensure(ctx); err != nil {
		t.Fatal(err)
	}
	if err := h.queue.Publish(ctx, queue.Job{Subject: jobs.SubjectImage + "m", Data: []byte(`{"messageId":"m","userId":"u"}`)}); err != nil {
		t.Fatal(err)
	}
	got, _ := h.keep("erase", "u", "--yes")
	if got.code != exitFailed || !strings.Contains(got.stderr, "nothing was erased: jobs of the user are under way: job xinghe.jobs.image.m; wait") {
		t.Errorf("%+v", got)
	}
	worker, stop := context.WithCancel(ctx)
	var working sync.WaitGroup
	defer working.Wait()
	defer stop()
	working.Go(func() {
		if err := h.queue.Consume(worker, queue.ConsumerConfig{Name: "image", Subjects: []string{jobs.SubjectImage + "*"}}, func(context.Context, *queue.Delivery) error {
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
	if got, report := h.keep("erase", "u", "--yes", "--wait", "1m"); got.code != exitDone || len(report.Busy) != 0 {
		t.Errorf("%+v", got)
	}
}
