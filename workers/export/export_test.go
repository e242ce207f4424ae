package export_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/sink"
	"xinghe/shared/xingchen"
	"xinghe/testlocal/natstest"
	"xinghe/workers/export"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

var day = time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)

// upstream answers history queries from memory, page by page, as the real
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
		if row.GmtCreate < q.Where.StartTime || q.Where.EndTime > 0 && row.GmtCreate > q.Where.EndTime {
			continue
		}
		if q.Where.SessionID == "" || q.Where.SessionID == row.SessionID {
			all = append(all, row)
		}
	}
	if slices.Equal(q.OrderBy, []string{"gmtCreate desc"}) {
		slices.Reverse(all)
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
	testing.TB
	nats     *natstest.Server
	queue    *queue.Queue
	upstream *upstream
	root     string
	sink     sink.Sink
	exports  *queue.Store[jobs.Export]
}

func setup(tb testing.TB) *bundle {
	tb.Helper()
	b := &bundle{TB: tb, nats: natstest.New(tb), root: tb.TempDir(), upstream: &upstream{rows: map[string][]xingchen.HistoryMessage{}}}
	var err error
	if b.sink, err = sink.NewFolder(b.root); err != nil {
		tb.Fatal(err)
	}
	if b.queue, err = queue.New(b.nats.JetStream(), queue.Config{}); err != nil {
		tb.Fatal(err)
	}
	if err := b.queue.Ensure(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	b.exports = open[jobs.Export](b, jobs.BucketExports)
	return b
}

func open[T any](b *bundle, bucket string) *queue.Store[T] {
	b.Helper()
	store, err := queue.OpenStore[T](b.queue, bucket, queue.StoreConfig{})
	if err != nil {
		b.Fatal(err)
	}
	return store
}

// work runs a worker until stop is called, which waits for it.
func (b *bundle) work(change func(*export.Config)) (stop func()) {
	b.Helper()
	cfg := export.Config{
		Queue: b.queue, Histories: b.upstream, Sink: b.sink, Tries: 3, Attempts: 2, Patience: 100 * time.Millisecond,
		Backoff: func(int) time.Duration { return 5 * time.Millisecond },
	}
	if change != nil {
		change(&cfg)
	}
	worker, err := export.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- worker.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, worker.Close()); err != nil {
			b.Errorf("worker: %v", err)
		}
	})
	b.Cleanup(stop)
	return stop
}

// spec of all that there is of some characters and users.
func spec(characters, users []string) jobs.ExportSpec {
	return jobs.ExportSpec{Name: "nightly", Characters: characters, Users: users, From: day, To: day.Add(24 * time.Hour)}
}

func (b *bundle) start(characters, users []string) jobs.Export {
	b.Helper()
	return b.startSpec("exp_TEST", spec(characters, users))
}

// startSpec accepts an export as the function does.
func (b *bundle) startSpec(id string, spec jobs.ExportSpec) jobs.Export {
	b.Helper()
	e := jobs.Export{ID: id, Name: spec.Name, State: jobs.StateQueued, Round: 1, CreatedAt: time.Now(), Spec: spec.WithDefaults()}
	if _, err := b.exports.Create(b.Context(), e.ID, e); err != nil {
		b.Fatal(err)
	}
	b.publish(e)
	return e
}

// change changes an export's record as the function does.
func (b *bundle) change(id string, change func(*jobs.Export)) jobs.Export {
	b.Helper()
	entry, err := b.exports.Modify(b.Context(), id, func(e *jobs.Export) error {
		change(e)
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return entry.Value
}

// resume starts another round as the function does.
func (b *bundle) resume(id string) {
	b.Helper()
	b.publish(b.change(id, func(e *jobs.Export) {
		e.Round++
		e.State, e.CancelledAt, e.Error, e.FinishedAt = jobs.StateQueued, nil, nil, nil
	}))
}

func (b *bundle) publish(e jobs.Export) {
	b.Helper()
	b.job(jobs.SubjectExport+e.ID, e)
}

func (b *bundle) job(subject string, payload any) {
	b.Helper()
	data, err := json.Marshal(payload)
	if err != nil {
		b.Fatal(err)
	}
	if err := b.queue.Publish(b.Context(), queue.Job{Subject: subject, Data: data}); err != nil {
		b.Fatal(err)
	}
}

// end waits for the export's end.
func (b *bundle) end(id string) jobs.Export {
	b.Helper()
	return b.until(id, func(e jobs.Export) bool { return e.State.Ended() })
}

func (b *bundle) until(id string, is func(jobs.Export) bool) jobs.Export {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 60*time.Second)
	defer cancel()
	var last jobs.Export
	for entry, err := range b.exports.Watch(ctx, id) {
		if err != nil {
			b.Fatalf("%v; the export is %+v", err, last)
		}
		if last = entry.Value; is(last) {
			return last
		}
	}
	b.Fatal("the watch has ended")
	return last
}

// files reads the manifest and all rows, and checks each part against it.
func (b *bundle) files(e jobs.Export) (jobs.Manifest, []jobs.Row) {
	b.Helper()
	var manifest jobs.Manifest
	decoder := json.NewDecoder(bytes.NewReader(b.read(e.Manifest)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&manifest); err != nil {
		b.Fatalf("manifest: %v", err)
	}
	var rows []jobs.Row
	for _, part := range manifest.Parts {
		data := b.read(part.Path)
		mine, index := decodeRows(b, e.Spec, data), (*jobs.IndexFile)(nil)
		var lines int64
		if jobs.Dialogues(e.Spec.Format) {
			mine, index, lines = b.dialogues(e.Spec, part, data)
		}
		want := jobs.Part{
			Path: part.Path, Window: part.Window, Rows: int64(len(mine)), Bytes: int64(len(data)), SHA256: hexSum(data),
			First: mine[0].MessageID, Last: mine[len(mine)-1].MessageID, Partition: partitionOf(b, e, part, mine),
			Index: index, Lines: lines,
		}
		if diff := cmp.Diff(want, part); diff != "" {
			b.Errorf("the manifest is wrong on a part:\n%s", diff)
		}
		rows = append(rows, mine...)
	}
	if int64(len(rows)) != manifest.Rows {
		b.Errorf("%d rows, but the manifest has %d", len(rows), manifest.Rows)
	}
	err := filepath.WalkDir(b.root, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".draft") {
			b.Errorf("a draft is left: %s", path)
		}
		return err
	})
	if err != nil {
		b.Error(err)
	}
	return manifest, rows
}

// partitionOf is the partition that all rows of a part are of.
func partitionOf(tb testing.TB, e jobs.Export, part jobs.Part, rows []jobs.Row) map[string]string {
	tb.Helper()
	if e.Spec.Partition == nil {
		return nil
	}
	zone, err := time.LoadLocation(e.Spec.Partition.TimeZone)
	if err != nil {
		tb.Fatal(err)
	}
	labels, folder := map[string]string{}, e.Folder()
	for _, by := range e.Spec.Partition.By {
		for i, row := range rows {
			label := row.CharacterID
			if by == "day" {
				label = time.UnixMilli(row.GmtCreate).In(zone).Format("2006-01-02")
			}
			if i > 0 && labels[by] != label {
				tb.Errorf("row %s of %s %s stands among those of %s", row.MessageID, by, label, labels[by])
			}
			labels[by] = label
		}
		folder += "/" + by + "=" + labels[by]
	}
	if filepath.Dir(part.Path) != folder {
		tb.Errorf("part %s is not in %s", part.Path, folder)
	}
	return labels
}

func (b *bundle) read(path string) []byte {
	b.Helper()
	file, err := b.sink.Open(b.Context(), path)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	data, err := io.ReadAll(file)
	if err != nil {
		b.Fatal(err)
	}
	return data
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// decodeRows reads a part by other means than those that it was written with.
func decodeRows(tb testing.TB, spec jobs.ExportSpec, data []byte) (rows []jobs.Row) {
	tb.Helper()
	switch {
	case spec.Format == jobs.FormatParquet:
		return decodeParquet(tb, data)
	case jobs.Dialogues(spec.Format):
		return nil
	}
	plain := unpacked(tb, spec.Compression, data)
	if spec.Format == jobs.FormatCSV {
		return decodeCSV(tb, plain)
	}
	decoder := json.NewDecoder(plain)
	decoder.DisallowUnknownFields()
	for {
		var row jobs.Row
		if err := decoder.Decode(&row); errors.Is(err, io.EOF) {
			return rows
		} else if err != nil {
			tb.Fatal(err)
		}
		rows = append(rows, row)
	}
}

// unpacked is a file without its compression.
func unpacked(tb testing.TB, compression string, data []byte) (plain io.Reader) {
	tb.Helper()
	plain = bytes.NewReader(data)
	var err error
	switch compression {
	case jobs.CompressionGzip:
		plain, err = gzip.NewReader(plain)
	case jobs.CompressionZstd:
		plain, err = zstd.NewReader(plain, zstd.WithDecoderConcurrency(1))
	}
	if err != nil {
		tb.Fatal(err)
	}
	return plain
}

func decodeCSV(tb testing.TB, plain io.Reader) (rows []jobs.Row) {
	tb.Helper()
	text := bufio.NewReader(plain)
	if mark, err := text.Peek(3); err != nil || string(mark) != "\ufeff" {
		tb.Fatalf("no byte order mark but %q, %v", mark, err)
	}
	_, _ = text.Discard(3)
	records, err := csv.NewReader(text).ReadAll()
	if err != nil {
		tb.Fatal(err)
	}
	for _, r := range records[1:] {
		row := jobs.Row{MessageID: r[0], ChatID: r[1], SessionID: r[2], CharacterID: r[3], UserID: r[4], MessageType: r[5], Content: r[6], Time: r[9]}
		if r[7] != "" {
			rating, err := strconv.ParseFloat(r[7], 64)
			if err != nil {
				tb.Fatal(err)
			}
			row.Rating = &rating
		}
		if row.GmtCreate, err = strconv.ParseInt(r[8], 10, 64); err != nil {
			tb.Fatal(err)
		}
		rows = append(rows, row)
	}
	return rows
}

// equal compares the exported ids with the generated ones, window by window in order.
func (b *bundle) equal(rows []jobs.Row, windows ...string) {
	b.Helper()
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
		b.Errorf("exported and generated rows differ:\n%s", diff)
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
	want := jobs.Progress{Windows: 4, WindowsDone: 4, Rows: 181, Bytes: e.Progress.Bytes, Requests: 4 + 2 + 2 + 2}
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
	b.told(e, "xinghe.export.done")
}

// told looks for the one event of the export's end.
func (b *bundle) told(e jobs.Export, kind string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
	defer cancel()
	var event jobs.Event
	err := b.queue.Consume(ctx, queue.ConsumerConfig{Name: "test", Subjects: []string{jobs.EventPrefix + ">"}}, func(_ context.Context, d *queue.Delivery) error {
		defer cancel()
		return json.Unmarshal(d.Data, &event)
	})
	if err != nil || event.Type != kind || event.Subject != e.ID || bytes.Contains(event.Data, []byte("regexp")) {
		b.Errorf("event %+v, %v", event, err)
	}
}

func TestRepeatedRowsAreDropped(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.upstream.fill("c", "u", 120)
	b.upstream.trouble = func(_ int, q xingchen.HistoryQuery, page *xingchen.Page[xingchen.HistoryMessage]) error {
		if q.PageNum == 3 { // the last row of page 2 stands here once more
			page.List = append(slices.Clone(b.upstream.rows["c/u"][99:100]), page.List...)
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
	if b.upstream.calls != 4 {
		t.Errorf("%d requests, want two pages and two counts", b.upstream.calls)
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
		{"unavailable for too long", []string{"good", "bad"}, &xingchen.Error{HTTPStatus: 500, Message: "boom"}, 6, jobs.StatePartial},
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
			b.told(e, "xinghe.export."+string(tc.state))
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
	if err := os.WriteFile(filepath.Join(b.root, "nightly", e.ID, ".000007-00000.jsonl.X.draft"), []byte("half"), 0o600); err != nil {
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
	b.publish(jobs.Export{ID: "exp_REFUSED", Round: 1, Spec: jobs.ExportSpec{Name: "n", Characters: []string{"c"}, Users: []string{"u"}}})
	// The export that follows in the same queue is done, the refused one has left no trace.
	b.end(b.start([]string{"c"}, []string{"u"}).ID)
	if _, err := b.exports.Get(t.Context(), "exp_REFUSED"); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("refused export: %v", err)
	}
	if _, err := os.Stat(filepath.Join(b.root, "n")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("refused export has files: %v", err)
	}
}
