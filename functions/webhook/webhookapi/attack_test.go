package webhookapi_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"xinghe/shared/jobs"
	"xinghe/shared/webhook"
)

const hello = `{"type":"hello","data":{"n":1}}`

// TestAttacks sends what must be refused. After each of them the same id is still free for
// its rightful owner, and nothing was published.
func TestAttacks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	next := ids()
	for _, tc := range []struct {
		name   string
		source string // plain unless it is set
		body   string
		at     time.Duration // from now, at which it is signed
		secret string
		spoil  func(h http.Header)
		sent   string // in place of the body that was signed
		status int
		tells  string
	}{
		{name: "no signature", spoil: func(h http.Header) { h.Del(webhook.HeaderSignature) }, status: 401, tells: "missing"},
		{name: "no headers", spoil: func(h http.Header) { clear(h) }, status: 401, tells: "missing"},
		{name: "no id", spoil: func(h http.Header) { h.Del(webhook.HeaderID) }, status: 401},
		{name: "no timestamp", spoil: func(h http.Header) { h.Del(webhook.HeaderTimestamp) }, status: 401},
		{name: "wrong secret", secret: "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 32))), status: 401, tells: "wrong signature"},
		{name: "wrong signature", spoil: func(h http.Header) { h.Set(webhook.HeaderSignature, "v1,AAAA") }, status: 401, tells: "wrong signature"},
		{name: "signature of nothing", spoil: func(h http.Header) { h.Set(webhook.HeaderSignature, "v1,") }, status: 401},
		{name: "signature of another version", spoil: func(h http.Header) {
			h.Set(webhook.HeaderSignature, strings.Replace(h.Get(webhook.HeaderSignature), "v1,", "v1a,", 1))
		}, status: 401},
		{name: "tampered body", sent: strings.Replace(hello, "1", "2", 1), status: 401, tells: "wrong signature"},
		{name: "body with a space more", sent: hello + " ", status: 401},
		{name: "another's id", spoil: func(h http.Header) { h.Set(webhook.HeaderID, "other") }, status: 401},
		{name: "id with a dot", spoil: func(h http.Header) { h.Set(webhook.HeaderID, "a.b") }, status: 401},
		{name: "fresh timestamp on an old signature", at: -time.Hour, spoil: func(h http.Header) {
			h.Set(webhook.HeaderTimestamp, strconv.FormatInt(noon.Unix(), 10))
		}, status: 401, tells: "wrong signature"},
		{name: "old timestamp", at: -5*time.Minute - time.Second, status: 401, tells: "too old"},
		{name: "future timestamp", at: 5*time.Minute + time.Second, status: 401, tells: "too new"},
		{name: "old timestamp for a strict source", source: "orders", at: -61 * time.Second, status: 401, tells: "too old"},
		{name: "signature twice", spoil: func(h http.Header) { h.Add(webhook.HeaderSignature, h.Get(webhook.HeaderSignature)) }, status: 401, tells: "more than once"},
		{name: "id twice", spoil: func(h http.Header) { h.Add(webhook.HeaderID, "other") }, status: 401},
		{name: "timestamp twice", spoil: func(h http.Header) { h.Add(webhook.HeaderTimestamp, "1") }, status: 401},
		{name: "timestamp in words", spoil: func(h http.Header) { h.Set(webhook.HeaderTimestamp, "now") }, status: 401},
		{name: "a key instead", spoil: func(h http.Header) { clear(h); h.Set("Authorization", "Bearer local-dev") }, status: 401},
		{name: "unknown source", source: "nobody", status: 404, tells: "nobody"},
		{name: "source in capitals", source: "PLAIN", status: 404},
		{name: "7 MB", body: `"` + strings.Repeat("x", 7<<20) + `"`, status: 413, tells: "6291456"},
		{name: "5 MB that would not fit an event", body: `"` + strings.Repeat("x", 5<<20) + `"`, status: 413, tells: "event"},
		{name: "bad JSON", body: `{"type":`, status: 400, tells: "ends too early"},
		{name: "two documents", body: `{} {}`, status: 400, tells: "more follows"},
		{name: "nothing", body: "", status: 400, tells: "empty"},
		{name: "not JSON", body: "a=b", status: 400, tells: "byte 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			source, secret, id := "plain", current, next()
			if tc.source != "" {
				source = tc.source
			}
			if tc.secret != "" {
				secret = tc.secret
			}
			body := tc.body
			if body == "" && tc.name != "nothing" {
				body = hello
			}
			header := standard(t, secret, id, body, noon.Add(tc.at))
			if tc.spoil != nil {
				tc.spoil(header)
			}
			sent := body
			if tc.sent != "" {
				sent = tc.sent
			}
			w := b.send(source, sent, header)
			want(t, w, tc.status, tc.tells)
			if challenge := w.Header().Get("WWW-Authenticate"); (challenge != "") != (tc.status == 401) || challenge == "Bearer" {
				t.Errorf("challenge %q", challenge)
			}
			if n := len(b.events(jobs.EventWebhookReceived)); n != 0 {
				t.Fatalf("%d events", n)
			}
		})
	}
	for i := range 3 {
		id := fmt.Sprintf("msg_%d", i+1) // attacks have come under it
		want(t, b.send("plain", hello, standard(t, current, id, hello, noon)), http.StatusAccepted, `"action":"publish"`)
	}
}

// TestTolerance holds that timestamps at the very edge are good.
func TestTolerance(t *testing.T) {
	t.Parallel()
	b := setup(t)
	next := ids()
	for _, at := range []time.Duration{-5 * time.Minute, 0, 5 * time.Minute} {
		want(t, b.send("plain", hello, standard(t, current, next(), hello, noon.Add(at))), http.StatusAccepted)
	}
}

// TestReplays sends what was good again.
func TestReplays(t *testing.T) {
	t.Parallel()
	b := setup(t)
	header := standard(t, current, "once", hello, noon)
	want(t, b.send("plain", hello, header), http.StatusAccepted)
	want(t, b.send("plain", hello, header), http.StatusConflict, "before")
	b.serve(20 * time.Second) // another instance
	want(t, b.send("plain", hello, header), http.StatusConflict, "before")
	b.pass(time.Minute)
	fresh := standard(t, current, "once", hello, noon.Add(time.Minute))
	want(t, b.send("plain", hello, fresh), http.StatusConflict, "before")
	other := strings.Replace(hello, "1", "2", 1)
	want(t, b.send("plain", other, standard(t, former, "once", other, noon)), http.StatusConflict)
	// Another source's ids are its own.
	want(t, b.send("orders", hello, standard(t, current, "once", hello, noon.Add(time.Minute))), http.StatusAccepted)
	if n := len(b.events(jobs.EventWebhookReceived)); n != 2 {
		t.Errorf("%d events, want 2", n)
	}
}

// TestRotation takes what is signed with either secret, or with both, and nothing else.
func TestRotation(t *testing.T) {
	t.Parallel()
	b := setup(t)
	want(t, b.send("plain", hello, standard(t, current, "a", hello, noon)), http.StatusAccepted)
	want(t, b.send("plain", hello, standard(t, former, "b", hello, noon)), http.StatusAccepted)
	both := standard(t, former, "c", hello, noon)
	both.Set(webhook.HeaderSignature, "v1,AAAA "+both.Get(webhook.HeaderSignature))
	want(t, b.send("plain", hello, both), http.StatusAccepted)
	want(t, b.send("orders", hello, standard(t, former, "d", hello, noon)), http.StatusUnauthorized)
}

// TestHMAC tries sources that sign in other ways.
func TestHMAC(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const body = `{"id":"evt-7","x":1}`
	const other = `{"id":"evt-8","x":1}`
	now, millis := strconv.FormatInt(noon.Unix(), 10), strconv.FormatInt(noon.UnixMilli(), 10)
	old := strconv.FormatInt(noon.Add(-6*time.Minute).Unix(), 10)
	hub := func(body string) string { return "sha256=" + hex.EncodeToString(mac(hubKey, body)) }
	timed := func(at, body string) string {
		return base64.StdEncoding.EncodeToString(mac(hubKey, "v0:"+at+":"+body))
	}
	for _, tc := range []struct {
		name, source, body string
		header             http.Header
		status             int
		tells              string
	}{
		{"prefix and id", "hub", body, headers("X-Hub-Signature-256", hub(body), "X-Hub-Delivery", "d-1"), 202, `"id":"d-1"`},
		{"capital digits", "hub", other, headers("X-Hub-Signature-256", "sha256="+strings.ToUpper(hub(other)[7:]), "X-Hub-Delivery", "d-2"), 202, ""},
		{"sent again", "hub", body, headers("X-Hub-Signature-256", hub(body), "X-Hub-Delivery", "d-1"), 409, ""},
		{"sent again under another id, which is not signed", "hub", body, headers("X-Hub-Signature-256", hub(body), "X-Hub-Delivery", "d-3"), 409, ""},
		{"its id with another body", "hub", `{"z":1}`, headers("X-Hub-Signature-256", hub(`{"z":1}`), "X-Hub-Delivery", "d-1"), 409, ""},
		{"the id that was refused, with a body of its own", "hub", `{"y":1}`, headers("X-Hub-Signature-256", hub(`{"y":1}`), "X-Hub-Delivery", "d-3"), 202, ""},
		{"the body that was refused, by its own id", "hub", `{"z":1}`, headers("X-Hub-Signature-256", hub(`{"z":1}`), "X-Hub-Delivery", "d-4"), 202, ""},
		{"no id", "hub", `{}`, headers("X-Hub-Signature-256", hub(`{}`)), 401, "X-Hub-Delivery: missing"},
		{"id twice", "hub", `{}`, headers("X-Hub-Signature-256", hub(`{}`), "X-Hub-Delivery", "a", "X-Hub-Delivery", "b"), 401, "more than once"},
		{"id too long", "hub", `{}`, headers("X-Hub-Signature-256", hub(`{}`), "X-Hub-Delivery", strings.Repeat("d", 1025)), 401, "1024"},
		{"no prefix", "hub", `{}`, headers("X-Hub-Signature-256", hub(`{}`)[7:], "X-Hub-Delivery", "e"), 401, "begin"},
		{"another hash", "hub", `{}`, headers("X-Hub-Signature-256", "sha1="+hub(`{}`)[7:], "X-Hub-Delivery", "e"), 401, ""},
		{"not hex", "hub", `{}`, headers("X-Hub-Signature-256", "sha256=zz", "X-Hub-Delivery", "e"), 401, "encoding"},
		{"half of it", "hub", `{}`, headers("X-Hub-Signature-256", hub(`{}`)[:39], "X-Hub-Delivery", "e"), 401, "wrong signature"},
		{"no signature", "hub", `{}`, headers("X-Hub-Delivery", "e"), 401, "missing"},
		{"empty signature", "hub", `{}`, headers("X-Hub-Signature-256", "", "X-Hub-Delivery", "e"), 401, "missing"},
		{"signature twice", "hub", `{}`, headers("X-Hub-Signature-256", hub(`{}`), "X-Hub-Signature-256", hub(`{}`), "X-Hub-Delivery", "e"), 401, "more than once"},
		{"tampered body", "hub", `{"q":1}`, headers("X-Hub-Signature-256", hub(`{"q":2}`), "X-Hub-Delivery", "e"), 401, "wrong signature"},

		{"with a timestamp", "timed", body, headers("X-Sign", timed(now, body), "X-Time", now), 202, `"id":"evt-7"`},
		{"its id again, signed afresh", "timed", body, headers("X-Sign", timed(millis, body), "X-Time", millis), 409, ""},
		{"milliseconds", "timed", other, headers("X-Sign", timed(millis, other), "X-Time", millis), 202, ""},
		{"old", "timed", other, headers("X-Sign", timed(old, other), "X-Time", old), 401, "too old"},
		{"another time than was signed", "timed", other, headers("X-Sign", timed(old, other), "X-Time", now), 401, "wrong signature"},
		{"no time", "timed", other, headers("X-Sign", timed(now, other)), 401, "X-Time: missing"},
		{"no number", "timed", other, headers("X-Sign", timed("+1", other), "X-Time", "+1"), 401, "whole number"},
		{"no id in the body", "timed", `{}`, headers("X-Sign", timed(now, `{}`), "X-Time", now), 400, "/id"},
		{"no text for an id", "timed", `{"id":{}}`, headers("X-Sign", timed(now, `{"id":{}}`), "X-Time", now), 400, "no text or number"},
		{"an empty id", "timed", `{"id":""}`, headers("X-Sign", timed(now, `{"id":""}`), "X-Time", now), 400, "printable"},
		{"a number for an id", "timed", `{"id":12345678901234567890}`, headers("X-Sign", timed(now, `{"id":12345678901234567890}`), "X-Time", now), 202, `"id":"12345678901234567890"`},

		{"time and body with a dot", "dotted", body, headers("X-Sign", hex.EncodeToString(mac(hubKey, now+"."+body)), "X-Time", now, "X-Id", "i"), 202, ""},
		{"no id at all", "nameless", body, headers("X-Sign", hex.EncodeToString(mac(hubKey, body))), 202, `"id":"sha256_`},
		{"the same again", "nameless", body, headers("X-Sign", hex.EncodeToString(mac(hubKey, body))), 409, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := b.send(tc.source, tc.body, tc.header)
			want(t, w, tc.status, tc.tells)
			if strings.Contains(w.Body.String(), hubKey) {
				t.Error("the secret is told")
			}
		})
	}
}
