package beebot_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"xinghe/shared/sign"
	"xinghe/testlocal/emulator/beebot"
)

func TestStreamCredentials(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		path   func(b *bench, a access) string
		code   string
		status int // in strict mode
	}{
		{"good", func(b *bench, a access) string { return b.path(a) }, "", 200},
		{"unknown token", func(b *bench, a access) string { a.AccessToken = "nobody"; return b.path(a) }, "InvalidAccessToken", 403},
		{"other channel", func(b *bench, a access) string { a.ChannelID = b.apply().ChannelID; return b.path(a) }, "InvalidAccessToken", 403},
		{"other secret", func(b *bench, a access) string { a.StreamSecret = b.apply().StreamSecret; return b.path(a) }, "SignatureDoesNotMatch", 403},
		{"timestamp changed", func(b *bench, a access) string { return b.path(a) + "0" }, "SignatureDoesNotMatch", 403},
		{"upper-case sign", func(_ *bench, a access) string {
			return beebot.StreamPath + a.AccessToken + "/" + a.ChannelID + "/" + strings.ToUpper(sign.Stream(a.StreamSecret, "1")) + "/1"
		}, "SignatureDoesNotMatch", 403},
		{"nearly over", func(b *bench, a access) string { b.clock.advance(2*time.Hour - time.Millisecond); return b.path(a) }, "", 200},
		{"expired", func(b *bench, a access) string { b.clock.advance(2 * time.Hour); return b.path(a) }, "AccessTokenExpired", 403},
		{"long expired", func(b *bench, a access) string { b.clock.advance(5 * time.Hour); return b.path(a) }, "InvalidAccessToken", 403},
		{"any timestamp", func(_ *bench, a access) string {
			return beebot.StreamPath + a.AccessToken + "/" + a.ChannelID + "/" + sign.Stream(a.StreamSecret, "now") + "/now"
		}, "", 403},
	} {
		for _, strict := range []bool{false, true} {
			name := row.name
			if strict {
				name += ", strict"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b := setup(t, func(cfg *beebot.Config) { cfg.Assume.StrictStream = strict })
				path := row.path(b, b.apply())
				if strict {
					got := b.do(b.request(http.MethodPost, path, "application/json", b.say("你好")))
					if html := strings.Contains(string(got.body), "<html>"); got.status != row.status || html != (row.status != 200) {
						t.Errorf("got %d %s", got.status, got.body)
					}
					return
				}
				frames, err := b.converse(path, b.say("你好"))
				if err != nil {
					t.Fatal(err)
				}
				if row.code == "" && ended(frames) {
					return
				}
				if len(frames) != 1 || frames[0].Success || frames[0].Code != row.code || frames[0].Message == "" || frames[0].MessageID == "" {
					t.Errorf("got %s", frames[0].raw)
				}
				if len(frames) == 1 && sorted(t, frames[0].raw) != string(frames[0].raw) {
					t.Errorf("keys out of order: %s", frames[0].raw)
				}
			})
		}
	}
}

func TestStreamSignatureVectors(t *testing.T) {
	t.Parallel()
	var vectors []struct{ StreamSecret, Timestamp, Sign string }
	if err := json.Unmarshal(fixture(t, "stream-md5-vectors.json"), &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		if !sign.VerifyStream(v.StreamSecret, v.Timestamp, v.Sign) {
			t.Errorf("%q: refused", v.StreamSecret)
		}
	}
	b := setup(t)
	a := b.apply()
	good := b.path(a)
	parts := strings.Split(good, "/")
	signature := parts[len(parts)-2]
	for i := range signature {
		altered := []byte(signature)
		altered[i] ^= 1
		frames, err := b.converse(strings.Replace(good, signature, string(altered), 1), b.say("你好"))
		if err != nil || len(frames) != 1 || frames[0].Code != "SignatureDoesNotMatch" {
			t.Errorf("byte %d changed: %v %v", i, frames, err)
		}
	}
}

func TestStreamPathShape(t *testing.T) {
	t.Parallel()
	b := setup(t)
	good := b.path(b.apply())
	for _, row := range []struct {
		name, method, path string
		status             int
	}{
		{"nothing", "POST", beebot.StreamPath, 404},
		{"three parts", "POST", good[:strings.LastIndex(good, "/")], 404},
		{"five parts", "POST", good + "/x", 404},
		{"empty part", "POST", beebot.StreamPath + "a/b/c/", 404},
		{"GET", "GET", good, 405},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			got := b.do(b.request(row.method, row.path, "application/json", b.say("你好")))
			if got.status != row.status || !strings.Contains(string(got.body), "<html>") || !strings.HasPrefix(got.header.Get("Content-Type"), "text/html") {
				t.Errorf("got %d %s", got.status, got.body)
			}
		})
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	t.Run("SeveralAreValidTogether", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		first, second := b.apply(), b.apply()
		for _, a := range []access{first, second, first} {
			if frames, err := b.converse(b.path(a), b.say("你好")); err != nil || !ended(frames) {
				t.Errorf("%v %v", frames, err)
			}
		}
	})
	t.Run("OneAtATime", func(t *testing.T) {
		t.Parallel()
		b := setup(t, func(cfg *beebot.Config) { cfg.Assume.OneToken = true })
		first, second := b.apply(), b.apply()
		if frames, _ := b.converse(b.path(first), b.say("你好")); frames[0].Code != "InvalidAccessToken" {
			t.Errorf("first token: %s", frames[0].raw)
		}
		if frames, _ := b.converse(b.path(second), b.say("你好")); !ended(frames) {
			t.Errorf("second token: %s", frames[0].raw)
		}
	})
	t.Run("BelongToASpace", func(t *testing.T) {
		t.Parallel()
		b := setup(t, func(cfg *beebot.Config) {
			cfg.Bots = append(beebot.DefaultBots(), beebot.Bot{ID: "other", AgentKey: "second"})
		})
		if frames, _ := b.converse(b.path(b.apply()), b.say("你好", "InstanceId", "other")); frames[0].Code != "Forbidden" {
			t.Errorf("default space: %s", frames[0].raw)
		}
		if frames, _ := b.converse(b.path(b.apply("AgentKey", "second")), b.say("你好", "InstanceId", "other")); !ended(frames) {
			t.Errorf("second space: %s", frames[0].raw)
		}
	})
}

func TestMaxStreams(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}), make(chan struct{})
	b := setup(t, func(cfg *beebot.Config) {
		cfg.Assume.MaxStreams = 1
		cfg.Model = func(context.Context, beebot.Ask) (string, error) {
			close(asked)
			<-release
			return "好", nil
		}
	})
	a := b.apply()
	done := make(chan error)
	first := b.say("你有什么技能?")
	go func() {
		_, err := b.converse(b.path(a), first)
		done <- err
	}()
	<-asked
	if frames, err := b.converse(b.path(a), b.say("你好")); err != nil || frames[0].Code != "Throttling.User" {
		t.Errorf("second stream: %v %v", frames, err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
