package export_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/jobs"
	"xinghe/shared/sink"
	"xinghe/shared/sink/sinktest"
	"xinghe/shared/xingchen"
	"xinghe/workers/export"
)

// parts are the parts of a manifest by their names within the export.
func parts(manifest jobs.Manifest) map[string]jobs.Part {
	list := map[string]jobs.Part{}
	for _, part := range manifest.Parts {
		part.Path = filepath.Base(part.Path)
		if part.Index != nil {
			index := *part.Index
			index.Path = filepath.Base(index.Path)
			part.Index = &index
		}
		list[part.Path] = part
	}
	return list
}

// undisturbed exports a spec without any trouble.
func undisturbed(t *testing.T, s *service, histories export.Histories, spec jobs.ExportSpec, changes ...func(*export.Config)) jobs.Manifest {
	t.Helper()
	b := setup(t)
	b.work(func(c *export.Config) {
		patientConfig(s, b.sink)(c)
		c.Histories = histories
		for _, change := range changes {
			change(c)
		}
	})
	manifest, _ := b.files(b.end(b.startSpec("exp_CALM", spec).ID))
	return manifest
}

func TestTakenOverPartsAreTheSame(t *testing.T) {
	t.Parallel()
	s := serve(t, tied(5000, 2))
	want := s.generated(t)
	for _, compression := range []string{jobs.CompressionNone, jobs.CompressionGzip, jobs.CompressionZstd} {
		t.Run(compression, func(t *testing.T) {
			t.Parallel()
			spec := s.spec("killed")
			spec.Compression = compression
			_, rows := takenOver(t, s, s.Client, spec, 40)
			same(t, want, rows)
		})
	}
}

// takenOver exports a spec by workers that die, one after another, and holds that the parts
// are those of a worker that does not. They live for so many requests and some more.
func takenOver(t *testing.T, s *service, histories export.Histories, spec jobs.ExportSpec, life int64, changes ...func(*export.Config)) (jobs.Manifest, []jobs.Row) {
	t.Helper()
	calm := undisturbed(t, s, histories, spec, changes...)
	b := setup(t)
	e := b.startSpec("exp_KILLED", spec)
	deaths := 0
	for ; deaths < 40; deaths++ {
		doomed := &mortal{upstream: histories, life: life + int64(17*(deaths%3)), dead: make(chan struct{})}
		stop := b.work(func(c *export.Config) {
			patientConfig(s, b.sink)(c)
			c.Histories = doomed
			for _, change := range changes {
				change(c)
			}
		})
		ended := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer close(ended)
			for entry, err := range b.exports.Watch(ctx, e.ID) {
				if err != nil || entry.Value.State.Ended() {
					return
				}
			}
		}()
		select {
		case <-doomed.dead:
		case <-ended:
		case <-time.After(60 * time.Second):
			t.Fatal("neither death nor end")
		}
		stop()
		cancel()
		<-ended
		if entry, err := b.exports.Get(t.Context(), e.ID); err == nil && entry.Value.State.Ended() {
			break
		}
	}
	manifest, rows := b.files(b.end(e.ID))
	if diff := cmp.Diff(parts(calm), parts(manifest)); diff != "" {
		t.Errorf("after %d deaths other parts than without:\n%s", deaths, diff)
	}
	if diff := cmp.Diff(calm.Windows, manifest.Windows); diff != "" {
		t.Errorf("after %d deaths the windows count otherwise than without:\n%s", deaths, diff)
	}
	if deaths < 2 {
		t.Errorf("only %d deaths", deaths)
	}
	return manifest, rows
}

// mortal answers so many requests; then it is as if its process had been killed: nothing it
// does reaches anybody any more.
type mortal struct {
	upstream export.Histories
	life     int64
	used     atomic.Int64
	dead     chan struct{}
}

func (m *mortal) Histories(ctx context.Context, q xingchen.HistoryQuery, opts ...xingchen.CallOption) (xingchen.Page[xingchen.HistoryMessage], error) {
	switch n := m.used.Add(1); {
	case n == m.life:
		close(m.dead)
		fallthrough
	case n > m.life:
		<-ctx.Done()
		return xingchen.Page[xingchen.HistoryMessage]{}, ctx.Err()
	}
	return m.upstream.Histories(ctx, q, opts...)
}

func TestTwoWorkersOnOneWindowDoNoHarm(t *testing.T) {
	t.Parallel()
	s := serve(t, tied(3000, 1))
	want := s.generated(t)
	spec := s.spec("twins")
	calm := undisturbed(t, s, s.Client, spec)
	b := setup(t)
	b.work(patientConfig(s, b.sink))
	b.work(patientConfig(s, b.sink))
	e := b.startSpec("exp_TWINS", spec)
	// The window a second time, under another subject.
	window := jobs.Window{
		ExportID: e.ID, Round: 1, CharacterID: spec.Characters[0], UserID: spec.Users[0], From: spec.From, To: spec.To,
		Folder: e.Folder(), Format: jobs.FormatJSONL, Compression: jobs.CompressionNone,
	}
	b.job(jobs.SubjectWindow+e.ID+".0.twin", window)
	manifest, rows := b.files(b.end(e.ID))
	same(t, want, rows)
	if diff := cmp.Diff(parts(calm), parts(manifest)); diff != "" {
		t.Error(diff)
	}
}

func TestFailingSinkEndsTheExportAndResumeCompletesIt(t *testing.T) {
	t.Parallel()
	s := serve(t, tied(3000, 2))
	want := s.generated(t)
	spec := s.spec("stopped")
	calm := undisturbed(t, s, s.Client, spec)
	for _, tc := range []struct {
		name   string
		reason string
		sink   func(t *testing.T, b *bundle) (to sink.Sink, fail, mend func())
	}{
		{"FullDisk", sink.ErrFull.Error(), func(_ *testing.T, b *bundle) (sink.Sink, func(), func()) {
			broken := &sinktest.Broken{Sink: b.sink}
			return broken, func() { broken.Fill(500_000) }, func() { broken.Fill(-1) }
		}},
		{"VanishedFolder", sink.ErrGone.Error(), func(t *testing.T, b *bundle) (sink.Sink, func(), func()) {
			t.Helper()
			broken := &sinktest.Broken{Sink: b.sink}
			return broken, func() { broken.Fail(sink.ErrGone) }, func() { broken.Fail(nil) }
		}},
		{"BucketThatIsMissing", sink.ErrGone.Error(), func(t *testing.T, _ *bundle) (sink.Sink, func(), func()) {
			t.Helper()
			gateway := sinktest.New(t)
			to, err := sink.NewS3(gateway.Client(sinktest.SecretKey), "later", "x")
			if err != nil {
				t.Fatal(err)
			}
			return to, func() {}, func() { gateway.Bucket("later", "") }
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			var fail, mend func()
			b.sink, fail, mend = tc.sink(t, b)
			fail()
			b.work(patientConfig(s, b.sink))
			e := b.end(b.startSpec("exp_STOPPED", spec).ID)
			if e.State != jobs.StateFailed || e.Error == nil || !strings.Contains(*e.Error, tc.reason) {
				t.Fatalf("state %s, error %v", e.State, e.Error)
			}
			kept := e.Progress.Rows
			mend()
			b.resume(e.ID)
			e = b.end(e.ID)
			if e.State != jobs.StateDone || e.Error != nil || e.Progress.Rows != 3000 {
				t.Fatalf("resumed with %d rows: %+v", kept, e)
			}
			manifest, rows := b.files(e)
			same(t, want, rows)
			if diff := cmp.Diff(parts(calm), parts(manifest)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRevokedKeyEndsTheExportAndResumeCompletesIt(t *testing.T) {
	t.Parallel()
	s := serve(t, tied(3000, 3))
	want := s.generated(t)
	b := setup(t)
	key := &keys{good: s.Client, bad: s.client(t, "lm-revoked")}
	key.left.Store(45)
	b.work(func(c *export.Config) {
		patientConfig(s, b.sink)(c)
		c.Histories, c.Windows = key, 1
	})
	e := b.end(b.startSpec("exp_REVOKED", s.spec("revoked")).ID)
	if e.State != jobs.StateFailed || e.Error == nil || !strings.Contains(*e.Error, "upstream answered") || strings.Contains(*e.Error, "lm-revoked") {
		t.Fatalf("state %s, error %v", e.State, e.Error)
	}
	manifest, _ := b.files(e)
	if manifest.Complete || len(manifest.Parts) == 0 || manifest.Rows != e.Progress.Rows {
		t.Errorf("manifest with %d parts, %d rows, complete %v", len(manifest.Parts), manifest.Rows, manifest.Complete)
	}
	key.left.Store(1 << 40)
	b.resume(e.ID)
	e = b.end(e.ID)
	if e.State != jobs.StateDone {
		t.Fatalf("resumed: %s, %v", e.State, *e.Error)
	}
	_, rows := b.files(e)
	same(t, want, rows)
}

// keys asks with a good key so many times, and then with a bad one.
type keys struct {
	good, bad export.Histories
	left      atomic.Int64
}

func (k *keys) Histories(ctx context.Context, q xingchen.HistoryQuery, opts ...xingchen.CallOption) (xingchen.Page[xingchen.HistoryMessage], error) {
	if k.left.Add(-1) < 0 {
		return k.bad.Histories(ctx, q, opts...)
	}
	return k.good.Histories(ctx, q, opts...)
}

func TestCancelKeepsPartsAndResumeCompletes(t *testing.T) {
	t.Parallel()
	s := serve(t, tied(5000, 5))
	want := s.generated(t)
	spec := s.spec("cancelled")
	calm := undisturbed(t, s, s.Client, spec)
	b := setup(t)
	gate := &gate{upstream: s.Client, after: 60, reached: make(chan struct{}), open: make(chan struct{})}
	b.work(func(c *export.Config) {
		patientConfig(s, b.sink)(c)
		c.Histories, c.Windows = gate, 1
	})
	e := b.startSpec("exp_CANCELLED", spec)
	<-gate.reached
	now := time.Now()
	b.change(e.ID, func(e *jobs.Export) { e.CancelledAt = &now })
	e = b.end(e.ID)
	manifest, _ := b.files(e)
	close(gate.open)
	if e.State != jobs.StateCancelled || e.FinishedAt == nil || manifest.Complete || !manifest.Cancelled || len(manifest.Parts) == 0 || manifest.Rows == 5000 {
		t.Errorf("export %s, manifest complete %v, cancelled %v, %d parts", e.State, manifest.Complete, manifest.Cancelled, len(manifest.Parts))
	}
	b.told(e, "xinghe.export.partial")
	b.resume(e.ID)
	e = b.end(e.ID)
	if e.State != jobs.StateDone {
		t.Fatalf("resumed: %s, %v", e.State, *e.Error)
	}
	manifest, rows := b.files(e)
	same(t, want, rows)
	if diff := cmp.Diff(parts(calm), parts(manifest)); diff != "" {
		t.Error(diff)
	}
}

// gate holds requests back after so many, until it is opened.
type gate struct {
	upstream export.Histories
	after    int64
	asked    atomic.Int64
	reached  chan struct{}
	open     chan struct{}
}

func (g *gate) Histories(ctx context.Context, q xingchen.HistoryQuery, opts ...xingchen.CallOption) (xingchen.Page[xingchen.HistoryMessage], error) {
	n := g.asked.Add(1)
	if n == g.after {
		close(g.reached)
	}
	if n >= g.after {
		select {
		case <-g.open:
		case <-ctx.Done():
			return xingchen.Page[xingchen.HistoryMessage]{}, ctx.Err()
		}
	}
	return g.upstream.Histories(ctx, q, opts...)
}

func TestPartThatIsGoneIsWrittenAgain(t *testing.T) {
	t.Parallel()
	s := serve(t, tied(3000, 1))
	want := s.generated(t)
	b := setup(t)
	key := &keys{good: s.Client, bad: s.client(t, "lm-revoked")}
	key.left.Store(60)
	b.work(func(c *export.Config) {
		patientConfig(s, b.sink)(c)
		c.Histories, c.PartBytes = key, 100_000
	})
	e := b.end(b.startSpec("exp_GONE", s.spec("gone")).ID)
	manifest, _ := b.files(e)
	if len(manifest.Parts) < 3 {
		t.Fatalf("%d parts", len(manifest.Parts))
	}
	if err := os.Remove(filepath.Join(b.root, manifest.Parts[1].Path)); err != nil {
		t.Fatal(err)
	}
	key.left.Store(1 << 40)
	b.resume(e.ID)
	_, rows := b.files(b.end(e.ID))
	same(t, want, rows)
}

func TestRowsThatComeBehindTheReaderAreRead(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		at   int // which of the rows before it the new one stands behind
	}{{"InTheFirstPart", 10}, {"InTheMiddle", 1200}, {"AtTheEnd", 2398}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.upstream.fill("c", "u", 2400)
			late := b.upstream.rows["c/u"][tc.at]
			late.MessageID, late.Content = "c-u-late", "too late"
			grown := append(append([]xingchen.HistoryMessage{}, b.upstream.rows["c/u"][:tc.at]...), late)
			grown = append(grown, b.upstream.rows["c/u"][tc.at:]...)
			b.upstream.trouble = func(call int, _ xingchen.HistoryQuery, _ *xingchen.Page[xingchen.HistoryMessage]) error {
				if call == 50 { // 48 pages and three counts make the whole of it
					b.upstream.rows["c/u"] = grown
				}
				return nil
			}
			b.work(func(c *export.Config) { c.PartBytes = 50_000 })
			e := b.end(b.start([]string{"c"}, []string{"u"}).ID)
			if e.State != jobs.StateDone {
				t.Fatalf("%s: %s", e.State, *e.Error)
			}
			manifest, rows := b.files(e)
			same(t, grown, rows)
			ordered(t, rows)
			if w := manifest.Windows[0]; w.TotalBefore != 2401 || w.TotalAfter != 2401 || w.Rows != 2401 {
				t.Errorf("counts: %+v", w)
			}
			if e.Progress.Requests > 51*3 {
				t.Errorf("%d requests", e.Progress.Requests)
			}
		})
	}
}

func TestHistoryThatNeverFitsIsGivenUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.upstream.fill("c", "u", 120)
	b.upstream.trouble = func(_ int, q xingchen.HistoryQuery, page *xingchen.Page[xingchen.HistoryMessage]) error {
		if q.PageSize == 1 {
			page.Total++
		}
		return nil
	}
	b.work(nil)
	e := b.end(b.start([]string{"c"}, []string{"u"}).ID)
	if e.State != jobs.StateFailed || !strings.Contains(*e.Error, "48 rows from 2024-05-01T00:00:00Z to 2024-05-01T00:00:00.016Z, of which upstream counts 49") {
		t.Errorf("%s: %s", e.State, *e.Error)
	}
}

func TestExportThatLostItsJobIsFound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.upstream.fill("c", "u", 3)
	spec := spec([]string{"c"}, []string{"u"}).WithDefaults()
	e := jobs.Export{ID: "exp_LOST", Name: spec.Name, State: jobs.StateQueued, Round: 1, CreatedAt: time.Now(), Spec: spec}
	claims := open[jobs.Live](b, jobs.BucketLive)
	_, err := claims.Create(t.Context(), e.Name, jobs.Live{ExportID: e.ID, Round: 1, Since: time.Now()})
	_, err2 := b.exports.Create(t.Context(), e.ID, e)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	b.work(func(c *export.Config) {
		c.Look = 20 * time.Millisecond
		c.Now = func() time.Time { return time.Now().Add(2 * time.Minute) }
	})
	if e = b.end(e.ID); e.State != jobs.StateDone {
		t.Errorf("%s: %v", e.State, e.Error)
	}
	if claim, err := claims.Get(t.Context(), e.Name); err != nil || claim.Value.ExportID != "" {
		t.Errorf("the name is still claimed: %+v, %v", claim.Value, err)
	}
}

func TestClaimOfAnotherRoundStays(t *testing.T) {
	t.Parallel()
	b := setup(t)
	claims := open[jobs.Live](b, jobs.BucketLive)
	if _, err := claims.Create(t.Context(), "nightly", jobs.Live{ExportID: "exp_OTHER", Round: 1, Since: time.Now()}); err != nil {
		t.Fatal(err)
	}
	b.work(nil)
	b.end(b.start([]string{"c"}, []string{"u"}).ID)
	if claim, err := claims.Get(t.Context(), "nightly"); err != nil || claim.Value.ExportID != "exp_OTHER" {
		t.Errorf("claim %+v, %v", claim.Value, err)
	}
}
