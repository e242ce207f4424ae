package webhook_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	reference "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"xinghe/shared/sign"
	"xinghe/shared/webhook"
)

// The secret, message and signature that the reference libraries are tested with.
const (
	published          = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	publishedID        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	publishedBody      = `{"test": 2432232314}`
	publishedSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

var publishedAt = time.Unix(1614265330, 0)

// another is a secret of 64 bytes.
var another = "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("星", 21)+"!"))

func parse(tb testing.TB, texts ...string) *webhook.Secrets {
	tb.Helper()
	list := make([]sign.Secret, len(texts))
	for i, text := range texts {
		list[i] = sign.NewSecret(text)
	}
	secrets, err := webhook.ParseSecrets(list...)
	if err != nil {
		tb.Fatal(err)
	}
	return secrets
}

func TestSignGivesThePublishedSignature(t *testing.T) {
	t.Parallel()
	h := http.Header{}
	if err := parse(t, published).Sign(h, publishedID, publishedAt.Add(999*time.Millisecond), []byte(publishedBody)); err != nil {
		t.Fatal(err)
	}
	want := http.Header{"Webhook-Id": {publishedID}, "Webhook-Timestamp": {"1614265330"}, "Webhook-Signature": {publishedSignature}}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Error(diff)
	}
}

// While a secret is replaced, those who know either of the two read what we send, and we
// read what those send who sign with either.
func TestRotation(t *testing.T) {
	t.Parallel()
	both := parse(t, another, published)
	body := []byte(publishedBody)
	sent := http.Header{}
	if err := both.Sign(sent, "msg_1", time.Now(), body); err != nil {
		t.Fatal(err)
	}
	if n := len(strings.Fields(sent.Get("webhook-signature"))); n != 2 || both.Len() != 2 {
		t.Errorf("%d signatures for two secrets: %s", n, sent.Get("webhook-signature"))
	}
	for _, secret := range []string{another, published} {
		theirs, err := reference.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := theirs.Verify(body, sent); err != nil {
			t.Errorf("the reference library: %v", err)
		}
		signature, err := theirs.Sign("msg_2", publishedAt, body)
		if err != nil {
			t.Fatal(err)
		}
		got := header("msg_2", "1614265330", signature)
		id, at, err := both.Verify(got, body, publishedAt, time.Minute)
		if err != nil || id != "msg_2" || !at.Equal(publishedAt) {
			t.Errorf("%q, %v, %v", id, at, err)
		}
	}
}

func header(id, timestamp, signature string) http.Header {
	h := http.Header{}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", timestamp)
	h.Set("webhook-signature", signature)
	return h
}

func TestVerify(t *testing.T) {
	t.Parallel()
	const timestamp = "1614265330"
	signed := func(id, timestamp string) http.Header {
		theirs, err := reference.NewWebhook(published)
		if err != nil {
			t.Fatal(err)
		}
		seconds, _ := strconv.ParseInt(timestamp, 10, 64)
		signature, err := theirs.Sign(id, time.Unix(seconds, 0), []byte(publishedBody))
		if err != nil {
			t.Fatal(err)
		}
		return header(id, timestamp, signature)
	}
	with := func(h http.Header, name string, values ...string) http.Header {
		h[http.CanonicalHeaderKey(name)] = values
		return h
	}
	good := func() http.Header { return header(publishedID, timestamp, publishedSignature) }
	for _, tc := range []struct {
		name string
		h    http.Header
		now  time.Time
		want error
	}{
		{"good", good(), publishedAt, nil},
		{"just not too old", good(), publishedAt.Add(webhook.Tolerance), nil},
		{"just not too new", good(), publishedAt.Add(-webhook.Tolerance), nil},
		{"the right one among others", with(good(), "webhook-signature", "v1a,xx v2,"+publishedSignature[3:]+" v1,AAAA "+publishedSignature), publishedAt, nil},
		{"too old", good(), publishedAt.Add(webhook.Tolerance + 1), webhook.ErrTooOld},
		{"too new", good(), publishedAt.Add(-webhook.Tolerance - 1), webhook.ErrTooNew},
		{"no headers", http.Header{}, publishedAt, webhook.ErrMissing},
		{"no id", with(good(), "webhook-id"), publishedAt, webhook.ErrMissing},
		{"empty id", with(good(), "webhook-id", ""), publishedAt, webhook.ErrMissing},
		{"no timestamp", with(good(), "webhook-timestamp"), publishedAt, webhook.ErrMissing},
		{"no signature", with(good(), "webhook-signature"), publishedAt, webhook.ErrMissing},
		{"two ids", with(good(), "webhook-id", publishedID, publishedID), publishedAt, webhook.ErrMalformed},
		{"an id with a dot", signed("msg.1", timestamp), publishedAt, webhook.ErrMalformed},
		{"an id with a space", signed("msg 1", timestamp), publishedAt, webhook.ErrMalformed},
		{"a long id", signed(strings.Repeat("m", 1025), timestamp), publishedAt, webhook.ErrMalformed},
		{"a time in words", with(good(), "webhook-timestamp", "now"), publishedAt, webhook.ErrMalformed},
		{"a time with a sign", signed(publishedID, "+1614265330"), publishedAt, webhook.ErrMalformed},
		{"a time with zeros", signed(publishedID, "01614265330"), publishedAt, webhook.ErrMalformed},
		{"a negative time", signed(publishedID, "-5"), time.Unix(-5, 0), webhook.ErrMalformed},
		{"a time beyond all years", with(good(), "webhook-timestamp", "9223372036854775807"), publishedAt, webhook.ErrMalformed},
		{"another id", with(good(), "webhook-id", "msg_other"), publishedAt, webhook.ErrSignature},
		{"another time", with(good(), "webhook-timestamp", "1614265331"), publishedAt, webhook.ErrSignature},
		{"no version", with(good(), "webhook-signature", publishedSignature[3:]), publishedAt, webhook.ErrSignature},
		{"another version", with(good(), "webhook-signature", "v2,"+publishedSignature[3:]), publishedAt, webhook.ErrSignature},
		{"half a signature", with(good(), "webhook-signature", publishedSignature[:20]), publishedAt, webhook.ErrSignature},
		{"nothing after the version", with(good(), "webhook-signature", "v1,"), publishedAt, webhook.ErrSignature},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			id, at, err := parse(t, published).Verify(tc.h, []byte(publishedBody), tc.now, webhook.Tolerance)
			if !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if good := err == nil; good != (id == publishedID) || good != at.Equal(publishedAt) {
				t.Errorf("%q at %v with error %v", id, at, err)
			}
		})
	}
	if _, _, err := parse(t, another).Verify(good(), []byte(publishedBody), publishedAt, webhook.Tolerance); !errors.Is(err, webhook.ErrSignature) {
		t.Errorf("another secret: %v", err)
	}
	if _, _, err := parse(t, published).Verify(good(), []byte(publishedBody+" "), publishedAt, webhook.Tolerance); !errors.Is(err, webhook.ErrSignature) {
		t.Errorf("another body: %v", err)
	}
}

func TestParseSecrets(t *testing.T) {
	t.Parallel()
	encoded := func(n int) string { return "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for _, tc := range []struct {
		name  string
		texts []string
		want  string // in the error; none if empty
	}{
		{"24 bytes", []string{encoded(24)}, ""},
		{"64 bytes", []string{encoded(64)}, ""},
		{"none", nil, "no secret"},
		{"empty", []string{encoded(24), ""}, "secret 2 of 2: does not begin with whsec_"},
		{"without the prefix", []string{encoded(24)[6:]}, "secret 1 of 1: does not begin"},
		{"23 bytes", []string{encoded(23)}, "23 bytes, want 24 to 64"},
		{"65 bytes", []string{encoded(65)}, "65 bytes"},
		{"no Base64", []string{encoded(24), "whsec_canary!canary"}, "secret 2 of 2: no Base64"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			list := make([]sign.Secret, len(tc.texts))
			for i, text := range tc.texts {
				list[i] = sign.NewSecret(text)
			}
			secrets, err := webhook.ParseSecrets(list...)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if printed := fmt.Sprintf("%v %+v %#v", err, secrets, secrets); strings.Contains(printed, "canary") {
				t.Errorf("a secret is shown: %s", printed)
			}
		})
	}
}

func TestSignRefuses(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"", "a.b", "a b", "a\r\nX: y", "星", strings.Repeat("m", 1025)} {
		h := http.Header{}
		if err := parse(t, published).Sign(h, id, publishedAt, nil); !errors.Is(err, webhook.ErrMalformed) || len(h) > 0 {
			t.Errorf("%.20q: error %v, headers %v", id, err, h)
		}
	}
	if err := parse(t, published).Sign(http.Header{}, "m", time.Time{}, nil); !errors.Is(err, webhook.ErrMalformed) {
		t.Errorf("the year 1: %v", err)
	}
}

func TestID(t *testing.T) {
	t.Parallel()
	for of, want := range map[string]string{
		"evt_01J8Z3": "evt_01J8Z3", "exp_01J.1.done": "exp_01J~1~done", "img_a=2eb.1": "img_a=3d2eb~1", "a~b": "a=7eb", "星": "=e6=98=9f",
	} {
		if got := webhook.ID(of); got != want {
			t.Errorf("%q: %q, want %q", of, got, want)
		}
	}
}

func FuzzID(f *testing.F) {
	f.Add("a.b", "a~b")
	f.Add("=2e", ".")
	f.Fuzz(func(t *testing.T, a, b string) {
		if a != b && webhook.ID(a) == webhook.ID(b) {
			t.Errorf("%q and %q share the id %q", a, b, webhook.ID(a))
		}
		if a != "" && len(a) <= 300 {
			if err := parse(t, published).Sign(http.Header{}, webhook.ID(a), publishedAt, nil); err != nil {
				t.Errorf("%q: %v", a, err)
			}
		}
	})
}

// Whatever is taken here is taken by the reference library as well.
func FuzzVerify(f *testing.F) {
	f.Add(publishedID, "1614265330", publishedSignature, []byte(publishedBody))
	f.Add(publishedID, "1614265330", "v1,g0hM9SsE v1a,x "+publishedSignature, []byte(publishedBody))
	f.Add(publishedID, " 1614265330", "v1,,v1", []byte("1.2"))
	theirs, err := reference.NewWebhook(published)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte) {
		h := header(id, timestamp, signature)
		ours := parse(t, published)
		_, at, err := ours.Verify(h, body, publishedAt, webhook.Tolerance)
		refused := theirs.VerifyIgnoringTimestamp(body, h)
		if err == nil && (refused != nil || !at.Equal(publishedAt)) {
			t.Errorf("taken with time %v, the reference library says: %v", at, refused)
		}
		if errors.Is(err, webhook.ErrSignature) && refused == nil {
			t.Error("the reference library knows the signature")
		}
	})
}

func FuzzSign(f *testing.F) {
	f.Add(publishedID, int64(1614265330), []byte(publishedBody), make([]byte, 24))
	f.Fuzz(func(t *testing.T, id string, seconds int64, body, key []byte) {
		if len(key) < webhook.MinSecret || len(key) > webhook.MaxSecret {
			return
		}
		secret := "whsec_" + base64.StdEncoding.EncodeToString(key)
		h := http.Header{}
		if err := parse(t, another, secret).Sign(h, id, time.Unix(seconds, 0), body); err != nil {
			return
		}
		theirs, err := reference.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := theirs.VerifyIgnoringTimestamp(body, h); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	secrets, body, h := parse(b, another, published), []byte(strings.Repeat("x", 1<<10)), http.Header{}
	if err := parse(b, published).Sign(h, publishedID, publishedAt, body); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := secrets.Verify(h, body, publishedAt, webhook.Tolerance); err != nil {
			b.Fatal(err)
		}
	}
}
