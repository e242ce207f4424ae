package export_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/xingchen"
	"xinghe/workers/export"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var day = time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)

// upstream answers history queries from memory, oldest first, page by page, as the real
// service does; trouble may change an answer.
type upstream struct {
	mu      sync.Mutex
	rows    map[string][]xingchen.HistoryMessage // by character/user
	calls   int
	trouble func(call int, query xingchen.HistoryQuery, page *xingchen.Page[xingchen.HistoryMessage]) error
}

func (u *upstream) Histories(_ context.Context, q xingchen.HistoryQuery, _ ...xingchen.CallOption) (xingchen.Page[xingchen.HistoryMessage], error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.calls++
	var all []xingchen.HistoryMessage
	for _, row := range u.rows[q.Where.CharacterID+"/"+q.Where.BizUserID] {
		if row.GmtCreate >= q.Where.StartTime && row.GmtCreate <= q.Where.EndTime {
			all = append(all, row)
		}
	}
	start := min((q.PageNum-1)*q.PageSize, len(all))
	page := xingchen.Page[xingchen.HistoryMessage]{
		List: slices.Clone(all[start:min(start+q.PageSize, len(all))]), Page: q.PageNum, PageSize: q.PageSize, Total: len(all),
	}
	if u.trouble != nil {
		if err := u.trouble(u.calls, q, &page); err != nil {
			return xingchen.Page[xingchen.HistoryMessage]{}, err
		}
	}
	return page, nil
}

// fill makes n messages, every three of them in the same millisecond, in an order of ids
// that is not theirs.
func (u *upstream) fill(character, user string, n int) {
	for i := range n {
		u.rows[character+"/"+user] = append(u.rows[character+"/"+user], xingchen.HistoryMessage{
			MessageID: fmt.Sprintf("%s-%s-%05d", character, user, (i/3)*3+2-i%3), Content: "<你好> & " + user,
			MessageType: "user", GmtCreate: xingchen.MillisOf(day.Add(time.Duration(i/3) * time.Millisecond)),
		})
	}
}

type bundle struct {
	t        *testing.T
	queue    *queue.Queue
	upstream *upstream
	root     string
	exports  *queue.Store[jobs.Export]
}

func setup(t *testing.T) *bundle {
	t.Helper()
	srv, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	q, err := queue.Open(queue.ConnConfig{Options: []nats.Option{nats.InProcessServer(srv)}}, queue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	if err := q.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	exports, err := queue.OpenStore[jobs.Export](q, jobs.BucketExports, queue.StoreConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return &bundle{t: t, queue: q, root: t.TempDir(), exports: exports, upstream: &upstream{rows: map[string][]xingchen.HistoryMessage{}}}
}

// work runs a worker until stop is called, which waits for it.
func (b *bundle) work(change func(*export.Config)) (stop func()) {
	b.t.Helper()
	cfg := export.Config{Queue: b.queue, Histories: b.upstream, Root: b.root, Attempts: 3}
	if change != nil {
		change(&cfg)
	}
	worker, err := export.New(cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- worker.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, worker.Close()); err != nil {
			b.t.Errorf("worker: %v", err)
		}
	})
	b.t.Cleanup(stop)
	return stop
}

func (b *bundle) start(characters, users []string) jobs.Export {
	b.t.Helper()
	e := jobs.Export{ID: "exp_TEST", Name: "nightly", State: jobs.StateQueued, CreatedAt: time.Now(), Spec: jobs.ExportSpec{
		Name: "nightly", Characters: characters, Users: users, From: day, To: day.Add(24 * time.Hour),
	}.WithDefaults()}
	if _, err := b.exports.Create(b.t.Context(), e.ID, e); err != nil {
		b.t.Fatal(err)
	}
	b.publish(e)
	return e
}

func (b *bundle) publish(e jobs.Export) {
	b.t.Helper()
	data, err := json.Marshal(e)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.queue.Publish(b.t.Context(), queue.Job{Subject: jobs.SubjectExport + e.ID, Data: data}); err != nil {
		b.t.Fatal(err)
	}
}

// end waits for the export's end.
func (b *bundle) end(id string) jobs.Export {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	for entry, err := range b.exports.Watch(ctx, id) {
		if err != nil {
			b.t.Fatal(err)
		}
		if entry.Value.State.Ended() {
			return entry.Value
		}
	}
	b.t.Fatal("the export did not end")
	return jobs.Export{}
}

// files reads the manifest and all rows, and checks each part against it.
func (b *bundle) files(e jobs.Export) (jobs.Manifest, []jobs.Row) {
	b.t.Helper()
	var manifest jobs.Manifest
	data, err := os.ReadFile(filepath.Join(b.root, e.Manifest))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		b.t.Fatal(err)
	}
	var rows []jobs.Row
	for _, part := range manifest.Parts {
		data, err := os.ReadFile(filepath.Join(b.root, part.Path))
		if err != nil {
			b.t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		var mine []jobs.Row
		for scanner := bufio.NewScanner(strings.NewReader(string(data))); scanner.Scan(); {
			var row jobs.Row
			if err := json.Unmarshal(scanner.Bytes(), &row); err != nil {
				b.t.Fatal(err)
			}
			mine = append(mine, row)
		}
		want := jobs.Part{Path: part.Path, Rows: int64(len(mine)), Bytes: int64(len(data)), SHA256: hex.EncodeToString(sum[:]), First: mine[0].MessageID, Last: mine[len(mine)-1].MessageID}
		if diff := cmp.Diff(want, part); diff != "" {
			b.t.Errorf("the manifest is wrong on a part:\n%s", diff)
		}
		rows = append(rows, mine...)
	}
	drafts, err := filepath.Glob(filepath.Join(b.root, "*", "*", ".*"))
	if err != nil || len(drafts) > 0 {
		b.t.Errorf("drafts are left: %v %v", drafts, err)
	}
	return manifest, rows
}

// equal compares the exported ids with the generated ones, window by window in order.
func (b *bundle) equal(rows []jobs.Row, windows ...string) {
	b.t.Helper()
	var want, got []string
	for _, window := range windows {
		var ids []string
		for _, m := range b.upstream.rows[window] {
			ids = append(ids, m.MessageID)
		}
		slices.Sort(ids) // ids are made so that this is the order of (gmtCreate, messageId)
		want = append(want, ids...)
	}
	for _, row := range rows {
		got = append(got, row.MessageID)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Errorf("exported and generated rows differ:\n%s", diff)
	}
}

func TestExport(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.upstream.fill("c1", "u1", 130)
	b.upstream.fill("c1", "u2", 50)
	b.upstream.fill("c2", "u2", 1)
	b.work(nil)
	e := b.end(b.start([]string{"c1", "c2"}, []string{"u1", "u2"}).ID)
	if e.State != jobs.StateDone || e.Error != nil || e.Manifest != "nightly/exp_TEST/manifest.json" || e.FinishedAt == nil {
		t.Errorf("export: %+v", e)
	}
	manifest, rows := b.files(e)
	b.equal(rows, "c1/u1", "c1/u2", "c2/u2")
	if !manifest.Complete || manifest.Rows != 181 || len(manifest.Windows) != 4 || manifest.Windows[0].TotalBefore != 130 || manifest.Windows[2].Rows != 0 {
		t.Errorf("manifest: %+v", manifest)
	}
	want := jobs.Progress{Windows: 4, WindowsDone: 4, Rows: 181, Bytes: e.Progress.Bytes, Requests: 3 + 2 + 1 + 1 + 4}
	if diff := cmp.Diff(want, e.Progress); diff != "" {
		t.Errorf("progress:\n%s", diff)
	}
	row := jobs.Row{
		MessageID: "c1-u1-00000", CharacterID: "c1", UserID: "u1", MessageType: "user", Content: "<你好> & u1",
		GmtCreate: day.UnixMilli(), Time: "2024-05-01T00:00:00.000Z",
	}
	if diff := cmp.Diff(row, rows[0]); diff != "" {
		t.Errorf("row:\n%s", diff)
	}
	b.told(e)
}

// told looks for the one event of the export's end.
func (b *bundle) told(e jobs.Export) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 10*time.Second)
	defer cancel()
	var event jobs.Event
	err := b.queue.Consume(ctx, queue.ConsumerConfig{Name: "test", Subjects: []string{jobs.EventPrefix + ">"}}, func(_ context.Context, d *queue.Delivery) error {
		defer cancel()
		return json.Unmarshal(d.Data, &event)
	})
	if err != nil || event.Type != "xinghe.export."+string(e.State) || event.Subject != e.ID {
		b.t.Errorf("event %+v, %v", event, err)
	}
}

func TestRepeatedRowsAreDropped(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.upstream.fill("c", "u", 120)
	b.upstream.trouble = func(_ int, q xingchen.HistoryQuery, page *xingchen.Page[xingchen.HistoryMessage]) error {
		if q.PageNum == 2 { // the last row of page 1 stands here once more
			page.List = append(slices.Clone(b.upstream.rows["c/u"][49:50]), page.List...)
		}
		return nil
	}
	b.work(nil)
	e := b.end(b.start([]string{"c"}, []string{"u"}).ID)
	manifest, rows := b.files(e)
	b.equal(rows, "c/u")
	if manifest.DuplicatesDropped != 1 {
		t.Errorf("duplicatesDropped = %d", manifest.DuplicatesDropped)
	}
}

func TestMovedWindowIsReadAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.upstream.fill("c", "u", 60)
	b.upstream.trouble = func(call int, _ xingchen.HistoryQuery, page *xingchen.Page[xingchen.HistoryMessage]) error {
		if call == 3 { // the proof of the first reading
			page.Total++
		}
		return nil
	}
	b.work(nil)
	e := b.end(b.start([]string{"c"}, []string{"u"}).ID)
	if e.State != jobs.StateDone {
		t.Errorf("state %s: %s", e.State, *e.Error)
	}
	_, rows := b.files(e)
	b.equal(rows, "c/u")
	if b.upstream.calls != 6 {
		t.Errorf("%d requests, want two readings of 3", b.upstream.calls)
	}
}

func TestWindowThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		users []string
		fail  *xingchen.Error
		calls int // of the failing window
		state jobs.State
	}{
		{"refused for good", []string{"good", "bad"}, &xingchen.Error{HTTPStatus: 400, Code: 404, Key: "aca.error.notfound", Message: "Not Found"}, 1, jobs.StatePartial},
		{"unavailable for too long", []string{"good", "bad"}, &xingchen.Error{HTTPStatus: 500, Message: "boom"}, 3, jobs.StatePartial},
		{"all of them", []string{"bad"}, &xingchen.Error{HTTPStatus: 400, Code: 403, Message: "No Permission"}, 1, jobs.StateFailed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.upstream.fill("c", "good", 10)
			calls := 0
			b.upstream.trouble = func(_ int, q xingchen.HistoryQuery, _ *xingchen.Page[xingchen.HistoryMessage]) error {
				if q.Where.BizUserID != "bad" {
					return nil
				}
				calls++
				return tc.fail
			}
			b.work(nil)
			e := b.end(b.start([]string{"c"}, tc.users).ID)
			if e.State != tc.state || calls != tc.calls || e.Error == nil {
				t.Fatalf("state %s after %d calls, error %v; want %s after %d", e.State, calls, e.Error, tc.state, tc.calls)
			}
			manifest, _ := b.files(e)
			if manifest.Complete || len(manifest.Failed) != 1 || manifest.Failed[0].UserID != "bad" || !strings.Contains(manifest.Failed[0].Reason, tc.fail.Message) {
				t.Errorf("manifest: %+v", manifest)
			}
			b.told(e)
		})
	}
}

func TestAnotherWorkerGoesOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 20 {
		b.upstream.fill("c", fmt.Sprintf("u%02d", i), 60)
	}
	reached := make(chan struct{})
	b.upstream.trouble = func(call int, _ xingchen.HistoryQuery, _ *xingchen.Page[xingchen.HistoryMessage]) error {
		if call == 20 {
			close(reached)
		}
		return nil
	}
	stop := b.work(func(c *export.Config) { c.Windows, c.Drain = 1, -1 })
	var users, windows []string
	for i := range 20 {
		users = append(users, fmt.Sprintf("u%02d", i))
		windows = append(windows, "c/"+users[i])
	}
	e := b.start([]string{"c"}, users)
	<-reached
	stop()
	// As if the worker had been killed: a draft stays behind.
	if err := os.WriteFile(filepath.Join(b.root, "nightly", e.ID, ".000007-0000.jsonl.X.draft"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := b.exports.Get(t.Context(), e.ID); err != nil || got.Value.State.Ended() {
		t.Fatalf("the first worker has ended the export: %+v %v", got.Value, err)
	}
	b.work(nil)
	ended := b.end(e.ID)
	if ended.State != jobs.StateDone {
		t.Fatalf("state %s", ended.State)
	}
	_, rows := b.files(ended)
	b.equal(rows, windows...)
}

func TestPartsAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.upstream.fill("c", "u", 100)
	b.work(func(c *export.Config) { c.PartBytes = 4000 })
	e := b.end(b.start([]string{"c"}, []string{"u"}).ID)
	manifest, rows := b.files(e)
	b.equal(rows, "c/u")
	if len(manifest.Parts) < 4 {
		t.Errorf("%d parts", len(manifest.Parts))
	}
	for _, part := range manifest.Parts {
		if part.Bytes > 4400 {
			t.Errorf("part of %d bytes", part.Bytes)
		}
	}
}

func TestJobWithoutRecordIsDropped(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.upstream.fill("c", "u", 1)
	b.work(nil)
	b.publish(jobs.Export{ID: "exp_REFUSED", Spec: jobs.ExportSpec{Name: "n", Characters: []string{"c"}, Users: []string{"u"}}})
	// The export that follows in the same queue is done, the refused one has left no trace.
	b.end(b.start([]string{"c"}, []string{"u"}).ID)
	if _, err := b.exports.Get(t.Context(), "exp_REFUSED"); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("refused export: %v", err)
	}
	if _, err := os.Stat(filepath.Join(b.root, "n")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("refused export has files: %v", err)
	}
}
