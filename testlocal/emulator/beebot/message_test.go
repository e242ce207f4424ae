package beebot_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/testlocal/emulator/beebot"
)

func TestRepeatedMessage(t *testing.T) {
	t.Parallel()
	collect := func(frames []frame) []string {
		var out []string
		for _, f := range frames {
			out = append(out, string(f.raw))
		}
		return out
	}
	inner := map[string]any{"InstanceId": beebot.DefaultInstanceID, "Utterance": "你有什么技能?"}
	t.Run("Replayed", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		first := collect(b.talk(body("once", inner)))
		b.talk(b.say("你好"))
		if diff := cmp.Diff(first, collect(b.talk(body("once", inner)))); diff != "" {
			t.Errorf("replay differs\n%s", diff)
		}
		b.clock.advance(25 * time.Hour)
		if diff := cmp.Diff(first, collect(b.talk(body("once", inner)))); diff == "" {
			t.Error("still replayed after the lifetime")
		}
	})
	t.Run("SwitchedOff", func(t *testing.T) {
		t.Parallel()
		b := setup(t, func(cfg *beebot.Config) { cfg.Assume.NoReplay = true })
		first := collect(b.talk(body("once", inner)))
		if diff := cmp.Diff(first, collect(b.talk(body("once", inner)))); diff == "" {
			t.Error("replayed")
		}
	})
	t.Run("RefusedMessagesAreForgotten", func(t *testing.T) {
		t.Parallel()
		broken := errors.New("no model")
		b := setup(t, func(cfg *beebot.Config) {
			cfg.Model = func(context.Context, beebot.Ask) (string, error) { return "好", broken }
		})
		for range 2 {
			frames := b.talk(body("once", inner))
			if last := frames[len(frames)-1]; last.Code != "InternalError" {
				t.Errorf("got %s", last.raw)
			}
		}
	})
	t.Run("WhileRunning", func(t *testing.T) {
		t.Parallel()
		asked, release := make(chan struct{}), make(chan struct{})
		var once sync.Once
		b := setup(t, func(cfg *beebot.Config) {
			cfg.Model = func(_ context.Context, ask beebot.Ask) (string, error) {
				once.Do(func() { close(asked) })
				<-release
				return "模型说:" + ask.Utterance, nil
			}
		})
		a := b.apply()
		done := make(chan []frame)
		go func() {
			frames, _ := b.converse(b.path(a), body("once", inner))
			done <- frames
		}()
		<-asked
		frames, err := b.converse(b.path(a), body("once", inner))
		if err != nil || len(frames) != 1 || frames[0].Code != "DuplicateMessage" {
			t.Errorf("got %v, %v", frames, err)
		}
		close(release)
		if first := <-done; !ended(first) || first[len(first)-1].text() != "模型说:你有什么技能?" {
			t.Errorf("got %d frames", len(first))
		}
		if again := b.talk(body("once", inner)); again[len(again)-1].text() != "模型说:你有什么技能?" {
			t.Errorf("replay: %s", again[len(again)-1].raw)
		}
	})
}
