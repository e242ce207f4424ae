package export_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sync/errgroup"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/sink"
	"xinghe/shared/sink/chain"
	"xinghe/shared/sink/sinktest"
	"xinghe/shared/xingchen"
	history "xinghe/testlocal/emulator/xingchen"
	"xinghe/workers/export"
)

func getenv(name string) string {
	return os.Getenv(name) //nolint:forbidigo // a test binary has no main of ours that could hand it down
}

// endless answers pages of a history that is computed: a row each millisecond.
type endless struct{ rows int64 }

func (e endless) Histories(_ context.Context, q xingchen.HistoryQuery, _ ...xingchen.CallOption) (xingchen.Page[xingchen.HistoryMessage], error) {
	first := max(int64(q.Where.StartTime)-day.UnixMilli(), 0)
	end := min(int64(q.Where.EndTime)+1-day.UnixMilli(), e.rows)
	page := xingchen.Page[xingchen.HistoryMessage]{Total: int(max(end-first, 0)), Page: q.PageNum, PageSize: q.PageSize}
	from := first + int64((q.PageNum-1)*q.PageSize)
	for i := from; i < min(from+int64(q.PageSize), end); i++ {
		id := strconv.FormatInt(i, 10)
		page.List = append(page.List, xingchen.HistoryMessage{
			MessageID: strings.Repeat("0", 32-len(id)) + id, ChatID: "f00dfeedf00dfeedf00dfeedf00dfeed", SessionID: "beefbeefbeefbeefbeefbeefbeefbeef",
			Content: "今天过得怎么样?我在想你什么时候来找我聊天。 #" + id, MessageType: "user", GmtCreate: xingchen.Millis(day.UnixMilli() + i),
		})
	}
	return page, nil
}

// The worker's resident memory, with NATS and S3 as processes of their own, must not grow
// with the number of rows.
func TestSoakMemory(t *testing.T) {
	if getenv("XINGHE_SOAK") == "" {
		t.Skip("exports ten million rows, twice, for some minutes: set XINGHE_SOAK=1 to run it")
	}
	for _, kind := range []string{sink.KindFolder, sink.KindS3} {
		t.Run(kind, func(t *testing.T) {
			// A process that has lived for half a second has not had its peaks yet.
			small := resident(t, kind, jobs.FormatJSONL, 100_000, 30)
			large := resident(t, kind, jobs.FormatJSONL, 10_000_000, 1)
			ratio := float64(large) / float64(small)
			t.Logf("resident at most %.1f MB at 100,000 rows, %.1f MB at 10,000,000: %.2f times", float64(small)/1024, float64(large)/1024, ratio)
			if large > 100<<10 || ratio > 1.2 {
				t.Error("that is more than 100 MB, or than 1.2 times")
			}
		})
	}
}

// Parquet is held in memory by the row group, one for each window.
func TestSoakMemoryOfParquet(t *testing.T) {
	if getenv("XINGHE_SOAK") == "" {
		t.Skip("exports three million rows for some minutes: set XINGHE_SOAK=1 to run it")
	}
	large := resident(t, sink.KindFolder, jobs.FormatParquet, 3_000_000, 1)
	if large > 250<<10 {
		t.Errorf("%.1f MB are more than 250", float64(large)/1024)
	}
}

// TestShortMemory is both in small, for every run of the tests.
func TestShortMemory(t *testing.T) {
	for format, most := range map[string]int{jobs.FormatJSONL: 100 << 10, jobs.FormatParquet: 250 << 10} {
		t.Run(format, func(t *testing.T) {
			if kB := resident(t, sink.KindFolder, format, 4_000, 1); kB > most {
				t.Errorf("%d kB are more than %d", kB, most)
			}
		})
	}
}

// status is where Linux says what a process has used.
const status = "/proc/self/status"

// resident exports so many rows, so often, in a process of its own, which collects garbage
// as often as the workers' program does, and returns the most memory that it had, in kB.
func resident(t *testing.T, kind, format string, rows, exports int) (kB int) {
	t.Helper()
	if _, err := os.Stat(status); err != nil {
		t.Skipf("memory cannot be read here: %v", err)
	}
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	defer srv.WaitForShutdown()
	defer srv.Shutdown()
	if !srv.ReadyForConnections(20 * time.Second) {
		t.Fatal("NATS is not ready")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSoakWorker$", "-test.v", "-test.timeout=30m")
	cmd.Env = append(cmd.Environ(), "XINGHE_SOAK_ROWS="+strconv.Itoa(rows), "XINGHE_SOAK_EXPORTS="+strconv.Itoa(exports), "XINGHE_SOAK_FORMAT="+format,
		"NATS_URL="+srv.ClientURL(), "XINGHE_SINK=folder:"+t.TempDir(), "GOGC=50")
	if kind == sink.KindS3 {
		gateway := sinktest.New(t)
		defer gateway.Stop()
		gateway.Bucket("soak", "")
		cmd.Env = append(append(cmd.Env, gateway.Env()...), "XINGHE_SINK=s3://soak/x")
	}
	started := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "resident kB "); ok {
			if kB, err = strconv.Atoi(text); err != nil {
				t.Fatal(err)
			}
		}
	}
	if kB == 0 {
		t.Fatalf("the process does not say what it has used:\n%s", out)
	}
	t.Logf("%s, %s: %d × %d rows in %s, %.1f MB", kind, format, exports, rows, time.Since(started).Round(time.Millisecond), float64(kB)/1024)
	return kB
}

// TestSoakWorker is the process of the tests of memory.
func TestSoakWorker(t *testing.T) {
	rows, err := strconv.Atoi(getenv("XINGHE_SOAK_ROWS"))
	if err != nil {
		t.Skip("only run by the tests of memory, in a process of its own")
	}
	const users = 4
	q, err := queue.Open(queue.ConnConfig{URL: getenv("NATS_URL")}, queue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	b := &bundle{TB: t, queue: q}
	if err := q.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b.sink, err = chain.Parse(t.Context(), getenv("XINGHE_SINK")); err != nil {
		t.Fatal(err)
	}
	b.exports = open[jobs.Export](b, jobs.BucketExports)
	stop := b.work(func(c *export.Config) { c.Histories = endless{int64(rows / users)} })
	defer stop()
	exports, err := strconv.Atoi(getenv("XINGHE_SOAK_EXPORTS"))
	if err != nil {
		t.Fatal(err)
	}
	for n := range exports {
		id := "exp_" + strconv.Itoa(n)
		spec := spec([]string{"c"}, []string{"a", "b", "c", "d"})
		spec.Format = getenv("XINGHE_SOAK_FORMAT")
		b.startSpec(id, spec)
		for entry, err := range b.exports.Watch(t.Context(), id) {
			e := entry.Value
			if err != nil || e.State.Ended() && (e.State != jobs.StateDone || e.Progress.Rows != int64(rows)) {
				t.Fatalf("%v; %s with %d rows: %v", err, e.State, e.Progress.Rows, e.Error)
			}
			if e.State.Ended() {
				break
			}
		}
	}
	fmt.Println("resident kB", peak(t)) //nolint:forbidigo // read by the parent
}

// peak is the most memory that this process had, in kB.
func peak(t *testing.T) string {
	t.Helper()
	file, err := os.Open(status)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		if text, ok := strings.CutPrefix(scanner.Text(), "VmHWM:"); ok {
			return strings.TrimSuffix(strings.TrimSpace(text), " kB")
		}
	}
	t.Fatal("no VmHWM")
	return ""
}

// How many rows a second are exported, beside how many the same pages give to somebody who
// only reads them, with as many readers, in the same run.
func BenchmarkExport(b *testing.B) {
	const rows, users = 100_000, 4
	s := serve(b, history.History{Characters: 1, Users: users, Messages: rows, From: day, To: day.Add(time.Hour)})
	x := setup(b)
	x.work(func(c *export.Config) { c.Histories = s })
	var raw, exported time.Duration
	for n := range b.N {
		started := time.Now()
		readRaw(b, s)
		raw += time.Since(started)
		started = time.Now()
		e := x.end(x.startSpec(fmt.Sprintf("exp_%d_%d", b.N, n), s.spec("bench")).ID)
		exported += time.Since(started)
		if e.State != jobs.StateDone || e.Progress.Rows != rows {
			b.Fatalf("%s, %d rows", e.State, e.Progress.Rows)
		}
	}
	b.ReportMetric(float64(rows*b.N)/raw.Seconds(), "raw-rows/s")
	b.ReportMetric(float64(rows*b.N)/exported.Seconds(), "rows/s")
	b.ReportMetric(100*raw.Seconds()/exported.Seconds(), "%-of-raw")
}

// readRaw reads every page of each history once.
func readRaw(b *testing.B, s *service) {
	b.Helper()
	var group errgroup.Group
	for _, user := range s.users() {
		group.Go(func() error {
			for number := 1; ; number++ {
				page, err := s.Histories(b.Context(), xingchen.HistoryQuery{
					Where: xingchen.HistoryWhere{
						CharacterID: s.history.CharacterIDs(0)[0], BizUserID: user,
						StartTime: xingchen.MillisOf(s.history.From), EndTime: xingchen.MillisOf(s.history.To) - 1,
					},
					OrderBy: []string{"gmtCreate asc"}, PageNum: number, PageSize: 50,
				})
				if err != nil || len(page.List) < 50 || number*50 >= page.Total {
					return err
				}
			}
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
}
