package chatapi_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"xinghe/functions/chat/chatapi"
	"xinghe/shared/beebot"
	"xinghe/shared/relay"
	"xinghe/shared/sign"
	"xinghe/shared/xingchen"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/fault"
)

// partners of the conversations in the table of faults, in the order of its columns.
var partners = [...]struct {
	name, model, text, route string
	stream                   bool
}{
	{"character streamed", "character:" + xiaowan, "写60字", "/v2/api/chat/send", true},
	{"character whole", "character:" + xiaowan, "写60字", "/v2/api/chat/send", false},
	{"robot streamed", "beebot:" + robot, "你有什么技能?", "/sse/paas4Json", true},
	{"robot whole", "beebot:" + robot, "你有什么技能?", "/sse/paas4Json", false},
}

// seen is what the clients of the four see: a stream's end with or without words before it, or
// the status, code and Retry-After of a refusal.
type seen [len(partners)]string

var (
	well      = seen{"words [DONE]", "200", "words [DONE]", "200"}
	brokenOff = seen{"words upstream_truncated", "502 upstream_truncated", "words upstream_truncated", "502 upstream_truncated"}
	fellStill = seen{"words upstream_timeout", "504 upstream_timeout", "words upstream_timeout", "504 upstream_timeout"}
)

func all(words string) seen { return seen{words, words, words, words} }

// What goes wrong upstream and what OpenAI's clients see of it.
var faultTable = [...]struct {
	name string
	rule fault.Rule
	seen seen
}{
	{"none", fault.Rule{}, well},
	{"latency", fault.Rule{Fault: fault.Latency, Delay: 20 * time.Millisecond}, well},
	{"throttle", fault.Rule{Fault: fault.Throttle, RetryAfter: 7 * time.Second}, all("429 rate_limited retry 7")},
	{"throttle-bare", fault.Rule{Fault: fault.ThrottleBare}, all("429 rate_limited")},
	{"500", fault.Rule{Fault: fault.InternalError}, all("502 upstream_error")},
	{"502", fault.Rule{Fault: fault.BadGateway}, all("502 upstream_error")},
	{"503", fault.Rule{Fault: fault.Unavailable}, all("502 upstream_error")},
	{"reset at 1", fault.Rule{Fault: fault.Reset, AtFrame: 1}, seen{"502 upstream_truncated", "502 upstream_truncated", "502 upstream_unavailable", "502 upstream_unavailable"}},
	{"reset at 9", fault.Rule{Fault: fault.Reset, AtFrame: 9}, brokenOff},
	{"half-close at 9", fault.Rule{Fault: fault.HalfClose, AtFrame: 9}, brokenOff},
	{"half-close inside a frame", fault.Rule{Fault: fault.HalfClose, AtByte: 5000}, seen{"words upstream_truncated", "200", "words upstream_truncated", "502 upstream_truncated"}},
	{"stall at 1", fault.Rule{Fault: fault.Stall, AtFrame: 1}, all("504 upstream_timeout")},
	{"stall at 9", fault.Rule{Fault: fault.Stall, AtFrame: 9}, fellStill},
	{"stall for a moment", fault.Rule{Fault: fault.Stall, AtFrame: 9, Delay: 30 * time.Millisecond}, well},
	{"cut", fault.Rule{Fault: fault.Cut}, brokenOff},
	{"cut at 1", fault.Rule{Fault: fault.Cut, AtFrame: 1}, all("502 upstream_truncated")},
	{"cut at 9", fault.Rule{Fault: fault.Cut, AtFrame: 9}, brokenOff},
	{"event-error at 1", fault.Rule{Fault: fault.ErrorEvent}, seen{"502 upstream_error", "200", "502 upstream_error", "502 upstream_error"}},
	{"event-error at 9", fault.Rule{Fault: fault.ErrorEvent, AtFrame: 9}, seen{"words upstream_error", "200", "words upstream_error", "502 upstream_error"}},
	{"split", fault.Rule{Fault: fault.Split}, well},
	{"join", fault.Rule{Fault: fault.Join}, well},
	{"crlf", fault.Rule{Fault: fault.CRLF}, well},
	{"comment", fault.Rule{Fault: fault.Comment}, well},
	{"huge", fault.Rule{Fault: fault.Huge, AtFrame: 9, Bytes: 2 << 20}, seen{"words upstream_error", "502 upstream_error", "words upstream_error", "502 upstream_error"}},
	// Robots repeat all that they said, so a broken character is one that they take back.
	{"invalid-utf8", fault.Rule{Fault: fault.InvalidUTF8, AtFrame: 9}, seen{"words [DONE]", "200", "words " + relay.CodeRewritten, "200"}},
	{"malformed-json at 1", fault.Rule{Fault: fault.MalformedJSON}, seen{"502 upstream_truncated", "502 upstream_error", "502 upstream_truncated", "502 upstream_truncated"}},
	{"malformed-json at 9", fault.Rule{Fault: fault.MalformedJSON, AtFrame: 9}, seen{"words upstream_truncated", "502 upstream_error", "words upstream_truncated", "502 upstream_truncated"}},
	// Increments repeat nothing, so they take nothing back.
	{"rewrite", fault.Rule{Fault: fault.Rewrite, AtFrame: 9}, seen{"words [DONE]", "200", "words " + relay.CodeRewritten, "200"}},
}

// TestCompletionUnderFaults holds that an answer has ended well only when upstream said so,
// and that everything else is an error that OpenAI's clients see as one.
func TestCompletionUnderFaults(t *testing.T) {
	t.Parallel()
	patient, hasty := newFaulty(t, 30*time.Second), newFaulty(t, 700*time.Millisecond)
	var calls sync.WaitGroup
	var got [len(faultTable)]seen
	for i, tc := range faultTable {
		f := patient
		if tc.rule.Fault == fault.Stall && tc.rule.Delay == 0 {
			f = hasty
		}
		for column := range partners {
			calls.Go(func() { got[i][column] = f.sight(i, column) })
		}
		if f == patient {
			calls.Wait() // a few at a time
		}
	}
	calls.Wait()
	for i, tc := range faultTable {
		for column, partner := range partners {
			if got[i][column] != tc.seen[column] {
				t.Errorf("%s, %s: the client saw %q, want %q", tc.name, partner.name, got[i][column], tc.seen[column])
			}
		}
	}
}

// newFaulty is a front whose upstream suffers from all faults of the table, a user's
// conversation from one.
func newFaulty(t *testing.T, idle time.Duration) *front {
	t.Helper()
	f := setup(t, options{configure: func(upstream string, cfg *chatapi.Config) {
		var err error
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		cfg.Xingchen, err = xingchen.New(xingchen.Config{
			BaseURL: upstream, APIKey: sign.NewSecret(emulator.DefaultXingchenKey), Transport: transport,
			Timeout: idle, IdleTimeout: idle, MaxResponseBytes: 1 << 20,
		})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Beebot, err = beebot.New(beebot.Config{
			Endpoint: upstream, StreamURL: upstream, AgentKey: sign.NewSecret(emulator.DefaultAgentKey), Transport: transport,
			Credentials: beebot.StaticCredentials(beebot.Credentials{
				AccessKeyID: emulator.DefaultAccessKeyID, AccessKeySecret: sign.NewSecret(emulator.DefaultAccessKeySecret),
			}),
			Timeout: idle, IdleTimeout: idle, MaxResponseBytes: 1 << 20,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cfg.Beebot.Close() })
	}})
	var rules []fault.Rule
	for i, tc := range faultTable {
		for column, partner := range partners {
			if rule := tc.rule; rule.Fault != "" {
				rule.User, rule.Route = sufferer(i, column), partner.route
				rules = append(rules, rule)
			}
		}
	}
	if err := f.emu.Faults().Set(rules...); err != nil {
		t.Fatal(err)
	}
	return f
}

func sufferer(row, column int) string { return faultTable[row].name + ", " + partners[column].name }

// sight holds a conversation and says what the client saw, in a few words.
func (f *front) sight(row, column int) string {
	p := partners[column]
	got := f.complete(fmt.Sprintf(`{"model":%q,"stream":%t,"user":%q,"messages":[{"role":"user","content":%q}]}`, p.model, p.stream, sufferer(row, column), p.text))
	if !utf8.ValidString(got.body) {
		f.t.Errorf("%s: no UTF-8: %q", sufferer(row, column), got.body)
	}
	if strings.HasPrefix(got.header.Get("Content-Type"), "text/event-stream") {
		s := readStream(f.t, got)
		if s.text != "" {
			return "words " + s.end
		}
		return s.end
	}
	answer := decode[completion](f.t, got.body)
	words := strconv.Itoa(got.status)
	switch {
	case answer.Error != nil:
		words += " " + answer.Error.Code
	case len(answer.Choices) == 0 || answer.Choices[0].Message.Content == "":
		words += " without words"
	}
	if after := got.header.Get("Retry-After"); after != "" {
		words += " retry " + after
	}
	return words
}
