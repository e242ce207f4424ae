package sign_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"xinghe/shared/sign"
)

const canary = "canary-7f3a"

func TestStream(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/stream-md5-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		StreamSecret, Timestamp, Sign string
	}
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range vectors {
		if got := sign.Stream(v.StreamSecret, v.Timestamp); got != v.Sign {
			t.Errorf("Stream(%q, %q) = %s, want %s", v.StreamSecret, v.Timestamp, got, v.Sign)
		}
		if !sign.VerifyStream(v.StreamSecret, v.Timestamp, v.Sign) {
			t.Errorf("VerifyStream(%q, %q) refuses the published signature", v.StreamSecret, v.Timestamp)
		}
		for name, refused := range map[string]bool{
			"wrong secret":    sign.VerifyStream(v.StreamSecret+"x", v.Timestamp, v.Sign),
			"wrong timestamp": sign.VerifyStream(v.StreamSecret, v.Timestamp+"1", v.Sign),
			"one byte off":    sign.VerifyStream(v.StreamSecret, v.Timestamp, "0"+v.Sign[1:]) && v.Sign[0] != '0',
			"upper case":      sign.VerifyStream(v.StreamSecret, v.Timestamp, strings.ToUpper(v.Sign)),
			"empty":           sign.VerifyStream(v.StreamSecret, v.Timestamp, ""),
		} {
			if refused {
				t.Errorf("VerifyStream accepts a signature with: %s", name)
			}
		}
	}
}

func TestSecretNeverPrints(t *testing.T) {
	t.Parallel()
	type config struct {
		Key    sign.Secret
		hidden sign.Secret
	}
	secret := sign.NewSecret(canary)
	cfg := config{Key: secret, hidden: secret}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, value := range []any{secret, &secret, cfg, &cfg, []sign.Secret{secret}, map[string]sign.Secret{"k": secret}} {
			got := fmt.Sprintf(format, value)
			if strings.Contains(got, canary) || strings.Contains(got, fmt.Sprintf("%x", canary)) {
				t.Errorf("Sprintf(%q, %T) shows the secret: %s", format, value, got)
			}
		}
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if got := fmt.Sprintf(format, secret); got != sign.Redacted {
			t.Errorf("Sprintf(%q) = %q, want %q", format, got, sign.Redacted)
		}
	}
	got, err := json.Marshal(cfg)
	if err != nil || string(got) != `{"Key":"[redacted]"}` {
		t.Errorf("json.Marshal = %s, %v", got, err)
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	var cfg struct{ Key sign.Secret }
	if err := json.Unmarshal([]byte(`{"Key":"`+canary+`"}`), &cfg); err != nil {
		t.Fatal(err)
	}
	if cfg.Key.Reveal() != canary || !cfg.Key.Equal(canary) || cfg.Key.IsZero() {
		t.Errorf("a decoded secret does not hold its text")
	}
	if cfg.Key.Equal("") || cfg.Key.Equal(canary+"x") {
		t.Errorf("Equal accepts another text")
	}
	var zero sign.Secret
	if !zero.IsZero() || zero.Reveal() != "" || zero.String() != "" || !sign.NewSecret("").IsZero() {
		t.Errorf("the zero secret is not empty")
	}
}

func TestRedactURL(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"https://alime-ws.aliyuncs.com/sse/paas4Json/tok/chan/sig/171": "https://alime-ws.aliyuncs.com/sse/paas4Json/[redacted]",
		"https://u:p@example.com/a?b=1":                                "https://[redacted]@example.com/a?b=1",
		"https://h/?AccessKeyId=a&Action=Chat&Signature=s%2B":          "https://h/?AccessKeyId=[redacted]&Action=Chat&Signature=[redacted]",
		"https://h/?SecurityToken=a&Utterance=%E4%BD%A0":               "https://h/?SecurityToken=[redacted]&Utterance=%E4%BD%A0",
		"https://nlp.aliyuncs.com/v2/api/chat/send":                    "https://nlp.aliyuncs.com/v2/api/chat/send",
		"http://h:x/%zz": sign.Redacted,
	} {
		if got := sign.RedactURL(raw); got != want {
			t.Errorf("RedactURL(%q) = %q, want %q", raw, got, want)
		}
	}
}

func TestRedactError(t *testing.T) {
	t.Parallel()
	cause := errors.New("connection refused")
	for _, address := range []string{
		"https://h/sse/paas4Json/" + canary + "/c/" + canary + "/1",
		"http://h/?Signature=" + canary + "&x=1",
	} {
		err := fmt.Errorf("call: %w", &url.Error{Op: "Post", URL: address, Err: cause})
		got := sign.RedactError(err)
		if strings.Contains(got.Error(), canary) || !strings.Contains(got.Error(), "connection refused") {
			t.Errorf("RedactError(%v) = %v", err, got)
		}
		if !errors.Is(got, cause) {
			t.Errorf("the redacted error does not unwrap to its cause")
		}
		if again := sign.RedactError(got); again.Error() != got.Error() {
			t.Errorf("redacting twice changes the text: %v", again)
		}
	}
	if sign.RedactError(nil) != nil {
		t.Error("RedactError(nil) is not nil")
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Authorization: Bearer " + canary + ", x":            "Authorization: Bearer [redacted], x",
		"string to sign is:POST&%2F&AccessKeyId%3D" + canary: "string to sign is:POST&%2F&AccessKeyId%3D[redacted]",
		"POST /sse/paas4Json/" + canary + "/c/s/1 failed":    "POST /sse/paas4Json/[redacted] failed",
		"streamSecret=" + canary + "&timestamp=1":            "streamSecret=[redacted]&timestamp=1",
		"nothing to hide": "nothing to hide",
	} {
		if got := sign.Redact(text); got != want {
			t.Errorf("Redact(%q) = %q, want %q", text, got, want)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("https://h/sse/paas4Json/a/b/c/1?x=y")
	f.Add("Bearer x")
	f.Fuzz(func(t *testing.T, text string) {
		if got := sign.Redact("before https://h/sse/paas4Json/" + canary + "/c/s/1 " + text); bytes.Contains([]byte(got), []byte(canary)) {
			t.Errorf("the token survives in %q", got)
		}
	})
}
