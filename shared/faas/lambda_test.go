package faas

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/google/go-cmp/cmp"
)

func (b *bundle) lambda() *lambdaEntry {
	return &lambdaEntry{instance: b.instance, stream: b.cfg.Entry == EntryLambdaURL}
}

// call is a request of a Function URL.
func call(method, path string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"version":"2.0","rawPath":%q,"requestContext":{"http":{"method":%q,"sourceIp":"203.0.113.7"}}}`, path, method))
}

// split reads a streamed answer to its end.
func split(t *testing.T, answer *lambdaAnswer) (head prelude, body string, err error) {
	t.Helper()
	if answer.ContentType() != "application/vnd.awslambda.http-integration-response" {
		t.Errorf("content type %q", answer.ContentType())
	}
	raw, err := io.ReadAll(answer)
	first, rest, ok := bytes.Cut(raw, make([]byte, 8))
	if !ok || json.Unmarshal(first, &head) != nil {
		t.Fatalf("no prelude: %q", raw)
	}
	_ = answer.Close()
	return head, string(rest), err
}

func TestLambdaStreams(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		method, path string
		head         prelude
		body         string
		broken       bool
	}{
		{"GET", "/nothing", prelude{StatusCode: 200, Headers: map[string]string{}}, "", false},
		{"GET", "/teapot", prelude{StatusCode: 418, Headers: map[string]string{}}, "", false},
		{"GET", "/binary", prelude{StatusCode: 200, Headers: map[string]string{"Content-Type": "application/octet-stream"}}, "\x00\xff\xfe\x01", false},
		{"HEAD", "/binary", prelude{StatusCode: 200, Headers: map[string]string{"Content-Type": "application/octet-stream"}}, "", false},
		{"GET", "/cookies", prelude{StatusCode: 204, Headers: map[string]string{"Vary": "Origin, Accept"}, Cookies: []string{"a=1", "b=2; Path=/"}}, "", false},
		{
			"GET", "/panic",
			prelude{StatusCode: 500, Headers: map[string]string{"Content-Type": "application/problem+json"}},
			`{"type":"about:blank","title":"Internal Server Error","status":500,"code":"internal"}`, false,
		},
		{"GET", "/panic-later", prelude{StatusCode: 200, Headers: map[string]string{"Content-Type": "text/plain; charset=utf-8"}}, "first", true},
		{"GET", "/abort", prelude{StatusCode: 200, Headers: map[string]string{"Content-Type": "text/plain; charset=utf-8"}}, "first", true},
	} {
		t.Run(tc.method+tc.path, func(t *testing.T) {
			t.Parallel()
			b := setup(t, Config{Entry: EntryLambdaURL}, Function{HTTP: http.HandlerFunc(mirror)})
			answer, err := b.lambda().invoke(t.Context(), call(tc.method, tc.path))
			if err != nil {
				t.Fatal(err)
			}
			head, body, err := split(t, answer)
			if diff := cmp.Diff(tc.head, head); diff != "" || body != tc.body {
				t.Errorf("%q\n%s", body, diff)
			}
			if errors.Is(err, errBroken) != tc.broken {
				t.Errorf("the stream ended by %v", err)
			}
		})
	}
}

// What the handler writes can be read before it goes on.
func TestLambdaHandsWritesOnAtOnce(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	b := setup(t, Config{Entry: EntryLambdaURL}, Function{HTTP: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Errorf("flush: %v", err)
		}
		w.Header().Set("X-Late", "1") // too late
		<-next
		_, _ = io.WriteString(w, "one")
		<-next
		_, _ = io.WriteString(w, "two")
	})})
	answer, err := b.lambda().invoke(t.Context(), call("GET", "/"))
	if err != nil {
		t.Fatal(err)
	}
	read := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(answer, got); err != nil || string(got) != want {
			t.Errorf("read %q %v, want %q", got, err, want)
		}
	}
	read(`{"statusCode":200,"headers":{}}` + strings.Repeat("\x00", 8))
	next <- struct{}{}
	read("one")
	next <- struct{}{}
	read("two")
	if rest, err := io.ReadAll(answer); err != nil || len(rest) > 0 {
		t.Errorf("%q %v", rest, err)
	}
	_ = answer.Close()
}

// When the answer cannot be posted, the library closes it early.
func TestLambdaAnswerThatIsNotRead(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	b := setup(t, Config{Entry: EntryLambdaURL}, Function{HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.WriteString(w, "one")
		<-r.Context().Done()
		ended <- err
	})})
	answer, err := b.lambda().invoke(t.Context(), call("GET", "/"))
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Close()
	if err := <-ended; !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the handler learns %v", err)
	}
	select {
	case <-b.idle():
	default:
		t.Error("the call is still counted")
	}
}

func TestLambdaDeadlineAndRequestID(t *testing.T) {
	t.Parallel()
	for _, entry := range []string{EntryLambdaURL, EntryLambdaEvent} {
		var left time.Duration
		var id string
		b := setup(t, Config{Entry: entry}, Function{HTTP: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			deadline, _ := r.Context().Deadline()
			left, id = time.Until(deadline), r.Header.Get("X-Request-Id")
		})})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		ctx = lambdacontext.NewContext(ctx, &lambdacontext.LambdaContext{AwsRequestID: "aws1"})
		answer, err := b.lambda().invoke(ctx, call("GET", "/"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer)
		_ = answer.Close()
		cancel()
		if left > 58*time.Second || left <= 0 || id != "aws1" {
			t.Errorf("%s: %s left, id %q", entry, left, id)
		}
	}
}

func TestLambdaTellsEventsApart(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, payload string
		kind          string // empty: no event
		want          string
	}{
		{"request", string(call("GET", "/cookies")), "", `{"statusCode":204,"headers":{"Vary":"Origin, Accept"},"cookies":["a=1","b=2; Path=/"],"body":"","isBase64Encoded":false}`},
		{"binary", string(call("GET", "/binary")), "", `{"statusCode":200,"headers":{"Content-Type":"application/octet-stream"},"body":"AP/+AQ==","isBase64Encoded":true}`},
		{"schedule", `{"detail-type":"Scheduled Event","source":"aws.events","detail":{}}`, KindSchedule, `{"done":true}`},
		{"bus", `{"detail-type":"x","source":"shop","detail":{}}`, KindBus, `{"done":true}`},
		{"input of a schedule", `{"name":"nightly"}`, KindInvoke, `{"done":true}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var r recorder
			b := setup(t, Config{Entry: EntryLambdaEvent}, Function{HTTP: http.HandlerFunc(mirror), Event: r.event})
			// As the library calls it: it must take the answer for a reader.
			got, err := lambda.NewHandler(b.lambda().invoke).Invoke(t.Context(), []byte(tc.payload))
			if diff := cmp.Diff(tc.want, string(got)); diff != "" || err != nil {
				t.Errorf("%v\n%s", err, diff)
			}
			if tc.kind == "" && len(r.events) > 0 || tc.kind != "" && (len(r.events) != 1 || r.events[0].Kind != tc.kind) {
				t.Errorf("events: %+v", r.events)
			}
		})
	}
	var r recorder
	b := setup(t, Config{Entry: EntryLambdaEvent}, Function{HTTP: http.HandlerFunc(mirror), Event: r.event})
	for payload, want := range map[string]string{
		`{"httpMethod":"GET","path":"/v1/exports"}`:                  "payload format 1.0",
		`{"Records":[{"eventSource":"aws:s3"}]}`:                     "not of SQS",
		`{"Records":{}}`:                                             "not of SQS",
		`{"detail-type":"x","source":"s","detail":"fail"}`:           "bus s x: told to",
		`{"version":"2.0","requestContext":{"http":{"method":"<"}}}`: "method",
		`{"detail-type":"x","source":"s","detail":"panic"}`:          "panic: told to",
		string(call("GET", "/panic-later")):                          "broke off",
	} {
		if answer, err := b.lambda().invoke(t.Context(), json.RawMessage(payload)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v %v", payload, answer, err)
		}
	}
	select {
	case <-b.idle():
	default:
		t.Error("a failed call is still counted")
	}
}

func TestLambdaQueue(t *testing.T) {
	t.Parallel()
	records := func(queue string, bodies ...string) string {
		var list []string
		for n, body := range bodies {
			list = append(list, fmt.Sprintf(`{"messageId":"m%d","body":%q,"attributes":{"ApproximateReceiveCount":"%d","SentTimestamp":"1795248000000"},`+
				`"eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:us-east-1:1:%s"}`, n, body, n+1, queue))
		}
		return "[" + strings.Join(list, ",") + "]"
	}
	for _, tc := range []struct {
		name, queue string
		bodies      []string
		want        string
		done        int
	}{
		{"all well", "jobs", []string{`{"a":1}`, `{"a":2}`}, `{"batchItemFailures":[]}`, 2},
		{"some fail", "jobs", []string{`{"a":1}`, `fail`, `"panic"`, `{"a":4}`}, `{"batchItemFailures":[{"itemIdentifier":"m1"},{"itemIdentifier":"m2"}]}`, 4},
		{"order is kept", "jobs.fifo", []string{`{"a":1}`, `fail`, `{"a":3}`}, `{"batchItemFailures":[{"itemIdentifier":"m1"},{"itemIdentifier":"m2"}]}`, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var r recorder
			b := setup(t, Config{Entry: EntryLambdaEvent}, Function{Event: r.event})
			got, err := lambda.NewHandler(b.lambda().invoke).Invoke(t.Context(), []byte(`{"Records":`+records(tc.queue, tc.bodies...)+`}`))
			if diff := cmp.Diff(tc.want, string(got)); diff != "" || err != nil || len(r.events) != tc.done {
				t.Errorf("%d events, %v\n%s", len(r.events), err, diff)
			}
			want := Event{
				Kind: KindQueue, Name: tc.queue, ID: "m1", Time: time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC), Attempt: 2,
				Payload: asJSON([]byte(tc.bodies[1])),
			}
			if diff := cmp.Diff(want, r.events[1]); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("the deadline leaves some", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		b := setup(t, Config{Entry: EntryLambdaEvent}, Function{Event: func(context.Context, Event) (json.RawMessage, error) {
			cancel()
			return nil, nil
		}})
		got, err := b.lambda().batch(ctx, json.RawMessage(records("jobs", "1", "2")))
		if string(got) != `{"batchItemFailures":[{"itemIdentifier":"m1"}]}` || err != nil {
			t.Errorf("%s %v", got, err)
		}
	})
}

// The answer is out before what was told on the side is waited for.
func TestLambdaFlushesBehindTheAnswer(t *testing.T) {
	t.Parallel()
	for _, entry := range []string{EntryLambdaURL, EntryLambdaEvent} {
		var flushed atomic.Bool
		b := setup(t, Config{Entry: entry}, Function{HTTP: http.HandlerFunc(mirror), Flush: func(context.Context) error { flushed.Store(true); return nil }})
		answer, err := b.lambda().invoke(t.Context(), call("GET", "/cookies"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer)
		if flushed.Load() {
			t.Errorf("%s: flushed before the answer was out", entry)
		}
		_ = answer.Close()
		if !flushed.Load() {
			t.Errorf("%s: not flushed before the next call", entry)
		}
	}
}
