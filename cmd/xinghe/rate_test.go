package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// ratingDeployment takes what it is sent. Messages named "bad…" are rejected, "unknown…"
// fail, and a state has to be asked for twice.
type ratingDeployment struct {
	t *testing.T
	*httptest.Server

	mu       sync.Mutex
	refusals []int // statuses of the first posts
	posts    []string
	keys     []string
	looks    int
}

func newRatingDeployment(t *testing.T, refusals ...int) *ratingDeployment {
	t.Helper()
	d := &ratingDeployment{t: t, refusals: refusals}
	d.Server = httptest.NewServer(d)
	t.Cleanup(d.Close)
	return d
}

func (d *ratingDeployment) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.Method == http.MethodPost && r.URL.Path == "/v1/ratings" {
		d.post(w, r)
		return
	}
	var number int
	if _, err := fmt.Sscanf(r.URL.Path, "/v1/ratings/rat_%d", &number); err != nil || number >= len(d.posts) {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	rows, rejected := d.rows(number)
	accepted, failed := rows-rejected, strings.Count(d.posts[number], "unknown")
	switch {
	case strings.HasSuffix(r.URL.Path, "/results"):
		_, _ = io.WriteString(w, `{"row":0,"messageId":"a","rating":1,"outcome":"applied"}`+"\n")
		for i := range failed {
			_, _ = fmt.Fprintf(w, `{"row":%d,"messageId":"unknown","rating":1,"outcome":"failed","reason":"not there"}`+"\n", i+1)
		}
	case d.looks == 0:
		_, _ = fmt.Fprintf(w, `{"state":"running","accepted":%d,"pending":%[1]d}`, accepted)
	default:
		_, _ = fmt.Fprintf(w, `{"state":"done","accepted":%d,"applied":%d,"failedCount":%d}`, accepted, accepted-failed, failed)
	}
	d.looks++
}

func (d *ratingDeployment) post(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Header.Get("Authorization") != "Bearer canary-key" {
		d.t.Errorf("post: %v, %v", r.Header, err)
	}
	d.keys = append(d.keys, r.Header.Get("Idempotency-Key"))
	if len(d.refusals) > 0 {
		w.WriteHeader(d.refusals[0])
		_, _ = io.WriteString(w, `{"code":"some","detail":"refused"}`)
		d.refusals = d.refusals[1:]
		return
	}
	d.posts = append(d.posts, r.Header.Get("Content-Type")+" "+string(body))
	number := len(d.posts) - 1
	rows, rejected := d.rows(number)
	faults := []rejectedRow{}
	if rejected > 0 {
		faults = append(faults, rejectedRow{1, "rating", "missing"})
	}
	answer, err := json.Marshal(map[string]any{
		"id": fmt.Sprintf("rat_%d", number), "accepted": rows - rejected, "rejectedCount": rejected, "rejected": faults,
	})
	if err != nil {
		d.t.Error(err)
	}
	_, _ = w.Write(answer)
}

func (d *ratingDeployment) rows(number int) (rows, rejected int) {
	rows = strings.Count(d.posts[number], "\n")
	if strings.HasPrefix(d.posts[number], "text/csv") {
		rows--
	}
	return rows, strings.Count(d.posts[number], "bad")
}

func TestRate(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, file, text string
		args             []string
		code             int
		post, stdout     string
	}{
		{
			"CSV", "r.csv", "\ufeffinfo,messageId,rating\r\n\"a, b\",m1,5\r\n,m2,-1\r\n", nil, 0,
			"text/csv info,messageId,rating\n\"a, b\",m1,5\n,m2,-1\n",
			`{"id":"rat_0","accepted":2,"rejectedCount":0}
{"rows":2,"accepted":2,"rejected":0,"pending":2,"applied":0,"superseded":0,"failed":0}
{"rows":2,"accepted":2,"rejected":0,"pending":0,"applied":2,"superseded":0,"failed":0}
`,
		},
		{
			"rejected and failed rows", "r.csv", "messageId,rating\nm1,5\nbad,\nunknown,1\n", nil, 3, "text/csv messageId,rating\nm1,5\nbad,\nunknown,1\n",
			`{"id":"rat_0","accepted":2,"rejectedCount":1,"rejected":[{"row":1,"field":"rating","message":"missing"}]}
{"rows":3,"accepted":2,"rejected":1,"pending":2,"applied":0,"superseded":0,"failed":0}
{"rows":3,"accepted":2,"rejected":1,"pending":0,"applied":1,"superseded":0,"failed":1}
{"row":1,"messageId":"unknown","reason":"not there"}
`,
		},
		{"all failed", "r.csv", "messageId,rating\nunknown,1\n", nil, 1, "text/csv messageId,rating\nunknown,1\n", `"failed":1`},
		{"lines", "r.ndjson", "{\"messageId\":\"m1\"}\r\n\n{\"messageId\":\"m2\"}", nil, 0, "application/x-ndjson {\"messageId\":\"m1\"}\n{\"messageId\":\"m2\"}\n", `"applied":2`},
		{"JSON", "r.json", " [{\"messageId\":\n\"m1\"}, {}]", nil, 0, "application/x-ndjson {\"messageId\":\"m1\"}\n{}\n", `"applied":2`},
		{"one in JSON", "r.json", `{"messageId":"m1"}`, nil, 0, "application/x-ndjson {\"messageId\":\"m1\"}\n", `"applied":1`},
		{"format", "r.txt", `{"messageId":"m1"}`, []string{"--format", "ndjson"}, 0, "application/x-ndjson {\"messageId\":\"m1\"}\n", `"applied":1`},
		{"standard input", "", "messageId,rating\nm1,5\n", nil, 0, "text/csv messageId,rating\nm1,5\n", `"applied":1`},
		{
			"without waiting", "r.csv", "messageId,rating\nm1,5\n",
			[]string{"--wait=false"},
			0, "text/csv messageId,rating\nm1,5\n",
			`{"id":"rat_0","accepted":1,"rejectedCount":0}` + "\n" + `{"rows":1,"accepted":1,"rejected":0,"pending":1,"applied":0,"superseded":0,"failed":0}` + "\n",
		},
		{"dry run", "r.csv", "messageId,rating\nm1,5\nbad,\n", []string{"--dry-run"}, 3, "text/csv messageId,rating\nm1,5\nbad,\n", `"rows":2,"accepted":1,"rejected":1,"pending":0`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := newRatingDeployment(t)
			path, stdin := "-", tc.text
			if tc.file != "" {
				path, stdin = filepath.Join(t.TempDir(), tc.file), ""
				if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got := command(t, d.URL, stdin, append([]string{"rate", path}, tc.args...)...)
			if got.code != tc.code || !strings.Contains(got.stdout, tc.stdout) || strings.HasPrefix(tc.stdout, "{") && got.stdout != tc.stdout {
				t.Errorf("%+v, want %d and\n%s", got, tc.code, tc.stdout)
			}
			if diff := cmp.Diff([]string{tc.post}, d.posts); diff != "" {
				t.Errorf("sent:\n%s", diff)
			}
		})
	}
}

func TestRateLargeFile(t *testing.T) {
	t.Parallel()
	d := newRatingDeployment(t)
	var file bytes.Buffer
	file.WriteString("messageId,rating\n")
	for i := range 40_001 {
		name := "m"
		if i == 20_001 {
			name = "bad"
		}
		_, _ = fmt.Fprintf(&file, "%s%d,5\n", name, i)
	}
	got := command(t, d.URL, file.String(), "rate", "-")
	if got.code != 3 || !strings.Contains(got.stdout, `{"row":20001,"field":"rating","message":"missing"}`) || !strings.Contains(got.stdout, `"rows":40001,"accepted":40000,"rejected":1,"pending":0,"applied":40000`) {
		t.Errorf("%+v", got)
	}
	if len(d.posts) != 3 || !strings.HasPrefix(d.posts[2], "text/csv messageId,rating\nm40000,5\n") {
		t.Errorf("%d posts", len(d.posts))
	}
	if d.keys[0] == "" || d.keys[0] == d.keys[1] {
		t.Errorf("idempotency keys %v", d.keys)
	}
}

func TestRateTriesAgain(t *testing.T) {
	t.Parallel()
	d := newRatingDeployment(t, http.StatusServiceUnavailable)
	if got := command(t, d.URL, "messageId,rating\nm1,5\n", "rate", "-", "--idempotency-key", "mine"); got.code != 0 {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff([]string{"mine-0", "mine-0"}, d.keys); diff != "" {
		t.Error(diff)
	}
}

func TestRateRefusals(t *testing.T) {
	t.Parallel()
	refused := newRatingDeployment(t, http.StatusBadRequest)
	for _, tc := range []struct {
		name, stdin string
		args        []string
		code        int
		stderr      string
	}{
		{"no row is good", "messageId,rating\nm1,5\n", []string{"-"}, 1, "rows 0 to 0: refused (400, some)"},
		{"no file", "", []string{filepath.Join(t.TempDir(), "none.csv")}, 2, "read the ratings"},
		{"nothing in it", "messageId,rating\n", []string{"-"}, 2, "no ratings in it"},
		{"not CSV", "messageId,rating\n\"m1,5\n", []string{"-"}, 2, "read the ratings"},
		{"not JSON", "{", []string{"-", "--format", "json"}, 2, "read the ratings"},
		{"format", "x", []string{"-", "--format", "xml"}, 2, "csv, ndjson or json"},
		{"arguments", "", nil, 2, "usage: xinghe rate FILE"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := command(t, refused.URL, tc.stdin, append([]string{"rate"}, tc.args...)...)
			if got.code != tc.code || !strings.Contains(got.stderr, tc.stderr) || got.stdout != "" {
				t.Errorf("%+v, want %d and %q", got, tc.code, tc.stderr)
			}
		})
	}
}
