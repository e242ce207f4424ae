package beebot_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"xinghe/testlocal/emulator/fault"
)

// outcome is what a client sees of one struck stream.
type outcome struct {
	frames []frame
	err    error
}

func struck(t *testing.T, rule fault.Rule) outcome {
	t.Helper()
	b := setup(t)
	rule.Route = "/sse/paas4Json"
	if err := b.faults.Set(rule); err != nil {
		t.Fatal(err)
	}
	frames, err := b.converse(b.path(b.apply()), b.say("你有什么技能?"))
	return outcome{frames: frames, err: err}
}

func TestStreamFaults(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		rule fault.Rule
		ok   func(outcome) bool
	}{
		{"last frame missing", fault.Rule{Fault: fault.Cut}, func(o outcome) bool { return o.err == nil && len(o.frames) == 11 }},
		{"cut", fault.Rule{Fault: fault.Cut, AtFrame: 7}, func(o outcome) bool { return o.err == nil && len(o.frames) == 6 }},
		{"reset", fault.Rule{Fault: fault.Reset, AtFrame: 7}, func(o outcome) bool { return o.err != nil && len(o.frames) <= 6 }},
		{"reset at a byte", fault.Rule{Fault: fault.Reset, AtByte: 1000}, func(o outcome) bool { return o.err != nil && len(o.frames) <= 2 }},
		{"reset at once", fault.Rule{Fault: fault.Reset}, func(o outcome) bool { return o.err != nil && len(o.frames) == 0 }},
		{"half closed", fault.Rule{Fault: fault.HalfClose, AtFrame: 7}, func(o outcome) bool {
			return errors.Is(o.err, io.ErrUnexpectedEOF) && len(o.frames) == 6
		}},
		{"stall that ends", fault.Rule{Fault: fault.Stall, AtFrame: 3, Delay: time.Millisecond}, func(o outcome) bool { return o.err == nil && ended(o.frames) }},
		{"latency", fault.Rule{Fault: fault.Latency, Delay: time.Millisecond}, func(o outcome) bool { return o.err == nil && ended(o.frames) }},
		{"error in the middle", fault.Rule{Fault: fault.ErrorEvent, AtFrame: 8}, func(o outcome) bool {
			last := o.frames[len(o.frames)-1]
			return o.err == nil && len(o.frames) == 8 && !last.Success && last.Code == "InternalError" && last.MessageID != ""
		}},
		{"split inside a rune", fault.Rule{Fault: fault.Split}, func(o outcome) bool { return o.err == nil && ended(o.frames) }},
		{"two in one write", fault.Rule{Fault: fault.Join}, func(o outcome) bool { return o.err == nil && len(o.frames) == 12 && ended(o.frames) }},
		{"CRLF", fault.Rule{Fault: fault.CRLF}, func(o outcome) bool { return o.err == nil && len(o.frames) == 12 && ended(o.frames) }},
		{"comments", fault.Rule{Fault: fault.Comment}, func(o outcome) bool { return o.err == nil && len(o.frames) == 12 && ended(o.frames) }},
		{"5 MB frame", fault.Rule{Fault: fault.Huge, AtFrame: 3}, func(o outcome) bool {
			return o.err == nil && ended(o.frames) && len(o.frames[2].raw) > 5_000_000
		}},
		{"invalid UTF-8", fault.Rule{Fault: fault.InvalidUTF8, AtFrame: 9}, func(o outcome) bool {
			return o.err == nil && !utf8.Valid(o.frames[8].raw)
		}},
		{"malformed JSON", fault.Rule{Fault: fault.MalformedJSON, AtFrame: 9}, func(o outcome) bool { return o.err != nil && len(o.frames) == 9 }},
		{"text taken back", fault.Rule{Fault: fault.Rewrite}, func(o outcome) bool {
			before, after := o.frames[5].text(), o.frames[6].text()
			last := o.frames[11].text()
			return o.err == nil && ended(o.frames) && before != "" && !strings.HasPrefix(after, before) && strings.HasPrefix(last, after)
		}},
		{"text taken back at the end", fault.Rule{Fault: fault.Rewrite, AtFrame: 12}, func(o outcome) bool {
			return o.err == nil && ended(o.frames) && !strings.HasPrefix(o.frames[11].text(), o.frames[10].text())
		}},
		{"token expired early", fault.Rule{Fault: fault.TokenExpired}, func(o outcome) bool {
			return o.err == nil && len(o.frames) == 1 && o.frames[0].Code == "AccessTokenExpired"
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got := struck(t, row.rule); !row.ok(got) {
				t.Errorf("%d frames, error %v", len(got.frames), got.err)
			}
		})
	}
}

func TestStreamRefusals(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := b.faults.Set(fault.Rule{Route: "/sse/paas4Json", User: "u1", Fault: fault.Throttle, RetryAfter: 2 * time.Second}); err != nil {
		t.Fatal(err)
	}
	got := b.do(b.request(http.MethodPost, b.path(b.apply()), "application/json", b.say("你好", "SenderId", "u1")))
	answer := got.decode(t)
	if got.status != http.StatusTooManyRequests || answer["success"] != false || answer["code"] != "Throttling.User" || got.header.Get("Retry-After") != "2" {
		t.Errorf("got %d %s %v", got.status, got.body, got.header)
	}
}

// TestCutMessageIsReplayedWhole retries a message whose stream broke off.
func TestCutMessageIsReplayedWhole(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := b.faults.Set(fault.Rule{Route: "/sse/paas4Json", Fault: fault.Cut, AtFrame: 4, Times: 1}); err != nil {
		t.Fatal(err)
	}
	message := b.say("你有什么技能?")
	first := b.talk(message)
	second := b.talk(message)
	if len(first) != 3 || !ended(second) || !bytes.Equal(first[2].raw, second[2].raw) {
		t.Errorf("first %d frames, second %d", len(first), len(second))
	}
}
