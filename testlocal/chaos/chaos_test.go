package chaos

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/sink"
	"xinghe/shared/sink/sinktest"
	"xinghe/testlocal/emulator/fault"
	history "xinghe/testlocal/emulator/xingchen"
)

// scenario is an export by three processes, and what happens meanwhile.
type scenario struct {
	history history.History
	want    map[string]string // the generated messages
	rate    int               // requests a second that the workers may make; 0 for no limit
	errors  float64           // share of requests that upstream fails
	s3      bool              // instead of a folder
	brokers int               // default 1
	within  time.Duration

	// In requests: from when on, how often and how many times a worker is killed, and when the
	// NATS server is, or the one that leads the streams. The latter comes back when the next
	// is killed, or at the end of the list.
	killFrom, killEvery, kills int
	loseBroker                 []int
}

// result is what has come of a scenario.
type result struct {
	parts map[string]string // SHA-256 by name
	kills int
	load  load
}

func (s scenario) run(t *testing.T) result {
	t.Helper()
	up := startUpstream(t, s.history)
	to, variables := s.sink(t)
	brokers := startBrokers(t, max(s.brokers, 1))
	q := connect(t, brokers)
	lose, end := s.loss(t, brokers)
	crew := startCrew(t, append(variables,
		"XINGHE_WORKERS=export", "NATS_URL="+addresses(brokers), "XINGHE_NATS_REPLICAS="+strconv.Itoa(len(brokers)), "XINGCHEN_BASE_URL="+up.url, "XINGCHEN_API_KEY=lm-local",
		"XINGCHEN_RPS="+strconv.Itoa(s.rate), "XINGHE_EXPORT_WINDOWS=2", "XINGHE_EXPORT_PART_BYTES=200000",
	))
	if err := up.Faults().Set(s.faults()...); err != nil {
		t.Fatal(err)
	}
	up.plan(s.steps(crew, lose, end))

	f := newFront(t, q, to)
	spec := specOf(s.history, "chaos")
	spec.Compression = jobs.CompressionZstd
	began := time.Now()
	e := f.await(f.start(spec), s.within)
	took := time.Since(began)
	crew.end()

	r := result{parts: proved(t, to, e, s.want), kills: crew.kills, load: loadOf(up.Requests())}
	t.Logf("%d messages in %d parts, proven within %s; %d workers were killed; %s",
		len(s.want), len(r.parts), took.Round(time.Millisecond), r.kills, r.load)
	if left := up.left(); left > 0 {
		t.Errorf("%d disturbances did not happen: too little is proved", left)
	}
	if n := r.load.status[http.StatusTooManyRequests]; n > 0 {
		t.Errorf("upstream refused %d requests as too many", n)
	}
	for letter, err := range q.DeadLetters(t.Context(), "") {
		t.Errorf("a dead letter: %s %s, %v", letter.Subject, letter.Reason, err)
	}
	return r
}

// sink is where the workers write to, and the variables that tell them so.
func (s scenario) sink(t *testing.T) (sink.Sink, []string) {
	t.Helper()
	if s.s3 {
		gateway := sinktest.New(t)
		return gateway.Bucket("chaos", "exports"), append(gateway.Env(), "XINGHE_SINK=s3://chaos/exports")
	}
	folder := t.TempDir()
	to, err := sink.NewFolder(folder)
	if err != nil {
		t.Fatal(err)
	}
	return to, []string{"XINGHE_SINK=folder:" + folder}
}

// quotaWindow is how long upstream counts requests before it refuses more of them.
const quotaWindow = 10 * time.Second

// faults are those of upstream, and its limit: the rate that the workers are told to keep,
// and as much above it as package budget says to leave.
func (s scenario) faults() []fault.Rule {
	if s.rate == 0 {
		return errorsOf(s.errors)
	}
	const slack = 12
	return append(errorsOf(s.errors), fault.Rule{
		Route: routeHistories, Fault: fault.Quota, Window: quotaWindow, Limit: s.rate*int(quotaWindow/time.Second) + slack,
	})
}

// loss is what takes a broker away, and what brings back the last one.
func (s scenario) loss(t *testing.T, brokers []*broker) (lose, end func()) {
	t.Helper()
	if len(brokers) == 1 {
		return brokers[0].restart, func() {}
	}
	c := newCluster(t, brokers)
	streams := []string{queue.StreamJobs, "KV_" + jobs.BucketWindows, "KV_" + jobs.BucketExports}
	next := 0
	return func() {
		c.loseLeader(streams[next%len(streams)])
		next++
	}, c.recover
}

func (s scenario) steps(c *crew, lose, end func()) (steps []step) {
	for i := range s.kills {
		steps = append(steps, step{s.killFrom + i*s.killEvery, c.killOne})
	}
	for _, at := range s.loseBroker {
		steps = append(steps, step{at, lose})
	}
	if n := len(s.loseBroker); n > 1 {
		steps = append(steps, step{2*s.loseBroker[n-1] - s.loseBroker[n-2], end})
	}
	return steps
}

// TestShortChaos is the chaos in small, for every run of the tests.
func TestShortChaos(t *testing.T) {
	t.Parallel()
	h := tied(5000, 10)
	calm := scenario{history: h, want: generated(t, h), within: 2 * time.Minute}
	wild := calm
	wild.errors, wild.killFrom, wild.killEvery, wild.kills, wild.loseBroker = 0.1, 10, 15, 4, []int{40}
	var undisturbed, disturbed result
	t.Run("Both", func(t *testing.T) { // returns when both have ended
		t.Run("Undisturbed", func(t *testing.T) {
			t.Parallel()
			undisturbed = calm.run(t)
		})
		t.Run("Killed", func(t *testing.T) {
			t.Parallel()
			disturbed = wild.run(t)
		})
	})
	if !t.Failed() {
		identical(t, undisturbed.parts, disturbed.parts)
	}
}

// TestChaos exports 100,000 messages at 20 requests a second, several times side by side.
func TestChaos(t *testing.T) {
	if getenv("XINGHE_CHAOS") != "full" {
		t.Skip("takes some minutes: set XINGHE_CHAOS=full to run it")
	}
	h := tied(100_000, 50)
	calm := scenario{history: h, want: generated(t, h), rate: 20, within: 15 * time.Minute}
	killed := calm
	killed.errors, killed.killFrom, killed.killEvery, killed.kills = 0.1, 30, 60, 36
	restarted, bucket, cluster := killed, killed, killed
	restarted.loseBroker = []int{1100}
	bucket.s3 = true
	cluster.brokers, cluster.killEvery, cluster.kills, cluster.loseBroker = 3, 150, 14, []int{400, 900, 1400}

	var undisturbed result
	results := map[string]*result{}
	t.Run("All", func(t *testing.T) { // returns when all have ended
		t.Run("Undisturbed", func(t *testing.T) {
			t.Parallel()
			undisturbed = calm.run(t)
			undisturbed.load.used(t, calm.rate)
		})
		for name, s := range map[string]scenario{"NATSRestarted": restarted, "S3": bucket, "ClusterLosesItsLeader": cluster} {
			r := new(result)
			results[name] = r
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				*r = s.run(t)
			})
		}
	})
	if t.Failed() {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(results)) {
		t.Run("Identical/"+name, func(t *testing.T) {
			identical(t, undisturbed.parts, results[name].parts)
		})
	}
}
