package intake_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"xinghe/shared/httpapi"
	"xinghe/shared/intake"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/testlocal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

const spec = `{"name":"nightly","characters":["c"],"users":["u"],"from":"2024-05-01T00:00:00Z","to":"2024-05-02T00:00:00Z"}`

type bundle struct {
	*testing.T
	js      jetstream.JetStream
	intake  *intake.Exports
	exports *queue.Store[jobs.Export]
	live    *queue.Store[jobs.Live]
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{T: t, js: natstest.New(t).JetStream()}
	q, err := queue.New(b.js, queue.Config{DedupeWindow: 100 * time.Millisecond, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	var errs [3]error
	b.intake, errs[0] = intake.NewExports(intake.ExportsConfig{Queue: q, Sink: jobs.SinkFolder, Timeout: 20 * time.Second})
	b.exports, errs[1] = queue.OpenStore[jobs.Export](q, jobs.BucketExports, queue.StoreConfig{})
	b.live, errs[2] = queue.OpenStore[jobs.Live](q, jobs.BucketLive, queue.StoreConfig{})
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	return b
}

// startAs must succeed, and the export be queued with its job and its claim.
func (b *bundle) startAs(id string) jobs.Export {
	b.Helper()
	export, err := b.intake.StartAs(b.Context(), id, []byte(spec))
	if err != nil {
		b.Fatal(err)
	}
	held, err := b.live.Get(b.Context(), export.Name)
	if err != nil || held.Value.ExportID != id {
		b.Errorf("the claim is held by %q, %v", held.Value.ExportID, err)
	}
	return export
}

// jobs counts the jobs of an export that wait.
func (b *bundle) jobs(id string) int {
	b.Helper()
	stream, err := b.js.Stream(b.Context(), queue.StreamJobs)
	if err != nil {
		b.Fatal(err)
	}
	info, err := stream.Info(b.Context(), jetstream.WithSubjectFilter(jobs.SubjectExport+id))
	if err != nil {
		b.Fatal(err)
	}
	return int(info.State.Subjects[jobs.SubjectExport+id])
}

func (b *bundle) put(export jobs.Export) {
	b.Helper()
	if _, err := b.exports.Put(b.Context(), export.ID, export); err != nil {
		b.Fatal(err)
	}
}

func TestStartAs(t *testing.T) {
	t.Parallel()
	t.Run("ManyAtOnceIsOneExport", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				if export, err := b.intake.StartAs(t.Context(), "exp_1", []byte(spec)); err != nil || export.ID != "exp_1" || export.State != jobs.StateQueued {
					t.Errorf("%+v, %v", export, err)
				}
			})
		}
		group.Wait()
		count := 0
		for _, err := range b.exports.Keys(t.Context(), ">") {
			if err != nil {
				t.Fatal(err)
			}
			count++
		}
		if jobs := b.jobs("exp_1"); count != 1 || jobs == 0 {
			t.Errorf("%d exports with %d jobs", count, jobs)
		}
	})
	t.Run("GoesOnFromItsClaim", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		if err := b.intake.Claim(t.Context(), jobs.Export{ID: "exp_1", Name: "nightly", Round: 1}); err != nil {
			t.Fatal(err)
		}
		if b.startAs("exp_1"); b.jobs("exp_1") != 1 {
			t.Error("no job")
		}
	})
	t.Run("GoesOnFromItsRecord", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		first := b.startAs("exp_1")
		stream, err := b.js.Stream(t.Context(), queue.StreamJobs)
		if err != nil {
			t.Fatal(err)
		}
		// As if the process had died before the job was published, longer ago than ids are known.
		if err := stream.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(20 * time.Second)
		for b.jobs("exp_1") == 0 && time.Now().Before(deadline) {
			if again := b.startAs("exp_1"); !again.CreatedAt.Equal(first.CreatedAt) {
				t.Fatalf("created %s and %s", first.CreatedAt, again.CreatedAt)
			}
		}
		if b.jobs("exp_1") != 1 {
			t.Error("no job")
		}
	})
	t.Run("LeavesAloneWhatIsUnderWay", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		for i, state := range []jobs.State{jobs.StateRunning, jobs.StateDone} {
			id := "exp_" + strconv.Itoa(i)
			b.put(jobs.Export{ID: id, Name: "nightly", Round: 1, State: state})
			if export, err := b.intake.StartAs(t.Context(), id, []byte(spec)); err != nil || export.State != state || b.jobs(id) != 0 {
				t.Errorf("%s: %+v, %v", state, export, err)
			}
		}
	})
	t.Run("IsRefusedWhileAnotherIsUnderWay", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.startAs("exp_1")
		_, err := b.intake.StartAs(t.Context(), "exp_2", []byte(spec))
		if httpapi.AsError(err).Status != http.StatusConflict || !strings.Contains(err.Error(), "exp_1") {
			t.Errorf("error %v", err)
		}
		if _, err := b.exports.Get(t.Context(), "exp_2"); !errors.Is(err, queue.ErrNotFound) || b.jobs("exp_2") != 0 {
			t.Errorf("a refused export has left something: %v", err)
		}
	})
	t.Run("LeavesNothingOfWhatIsTooLarge", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		// It fits into the bucket, and not into a job, which may become a dead letter.
		users := make([]string, 3950)
		for i := range users {
			users[i] = fmt.Sprintf("%0256d", i)
		}
		list, err := json.Marshal(users)
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.intake.StartAs(t.Context(), "exp_1", []byte(strings.Replace(spec, `["u"]`, string(list), 1)))
		if httpapi.AsError(err).Status != http.StatusBadRequest || !strings.Contains(err.Error(), "too large for one job") {
			t.Errorf("error %v", err)
		}
		if _, err := b.exports.Get(t.Context(), "exp_1"); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("a refused export has left something: %v", err)
		}
		b.startAs("exp_2")
	})
}
