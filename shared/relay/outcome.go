package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"xinghe/shared/beebot"
	"xinghe/shared/jobs"
)

// Outcome is what is known of a conversation when it is over, well or not.
type Outcome struct {
	MessageID, SessionID string
	// Usage is Incomplete unless upstream has told it.
	Usage jobs.ChatUsage
	// First is when the first byte of a stream left for the client; zero if none did.
	First time.Time
	// Source, NoAnswer, Sensitive and Handover are told by robots.
	Source              string
	NoAnswer, Sensitive bool
	Handover            *beebot.Handover
	// Text of the answer, where it was asked for.
	Text string
}

// NewOutcome is the outcome of a conversation of which nothing is known yet.
func NewOutcome() *Outcome { return &Outcome{Usage: jobs.ChatUsage{Incomplete: true}} }

// Disconnect says what becomes of a conversation whose client has left.
type Disconnect struct {
	// Drain is how long upstream is read on to learn the usage; 0 cancels it at once.
	Drain time.Duration
}

// context makes that of the call upstream from the client's. The caller must cancel it, which
// ends the draining; a call ends itself.
func (d Disconnect) context(client context.Context) (context.Context, context.CancelFunc) {
	if d.Drain <= 0 {
		return client, func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(client))
	stop := context.AfterFunc(client, func() {
		limit := time.AfterFunc(d.Drain, cancel)
		context.AfterFunc(ctx, func() { limit.Stop() })
	})
	return ctx, func() {
		stop()
		cancel()
	}
}

// glance reads ids and usage off a result of Xingchen, whole or a frame, without decoding
// it. Quotation marks inside of texts are escaped, so a name with its own stands at no
// other place. What is spelled in an unusual way is decoded after all.
func (o *Outcome) glance(data []byte) {
	usage, told := object(data, `"usage":{`)
	if told {
		o.Usage = jobs.ChatUsage{
			InputTokens: number(usage, `"inputTokens":`), OutputTokens: number(usage, `"outputTokens":`),
			UserTokens: number(usage, `"userTokens":`), PluginTokens: number(usage, `"pluginTokens":`),
		}
	}
	id := text(data, `"answerId":"`)
	if id == "" {
		id = text(data, `"messageId":"`)
	}
	if id == "" {
		o.decode(data)
		return
	}
	o.MessageID, o.SessionID = id, text(data, `"sessionId":"`)
}

// words takes in the text of a frame.
func (o *Outcome) words(text string, mode Mode) {
	if mode == Incremental {
		o.Text += text
		return
	}
	o.Text = text
}

// decode is glance for what is not spelled as usual.
func (o *Outcome) decode(data []byte) {
	type result struct {
		Usage   *jobs.ChatUsage `json:"usage"`
		Context struct {
			AnswerID  string `json:"answerId"`
			MessageID string `json:"messageId"`
			SessionID string `json:"sessionId"`
		} `json:"context"`
	}
	var whole struct {
		result
		Data *result `json:"data"`
	}
	if json.Unmarshal(data, &whole) != nil {
		return
	}
	found := whole.result
	if whole.Data != nil {
		found = *whole.Data
	}
	if found.Usage != nil {
		o.Usage = *found.Usage
		o.Usage.Incomplete = false
	}
	if o.MessageID = found.Context.AnswerID; o.MessageID == "" {
		o.MessageID = found.Context.MessageID
	}
	o.SessionID = found.Context.SessionID
}

// object returns what stands between the brace that ends the name and the next one.
func object(data []byte, name string) ([]byte, bool) {
	_, rest, found := bytes.Cut(data, []byte(name))
	inside, _, whole := bytes.Cut(rest, []byte{'}'})
	return inside, found && whole
}

// text returns a short string without escapes, an id, that stands behind the name.
func text(data []byte, name string) string {
	_, rest, found := bytes.Cut(data, []byte(name))
	value, _, whole := bytes.Cut(rest[:min(len(rest), 128)], []byte{'"'})
	if !found || !whole || bytes.IndexByte(value, '\\') >= 0 {
		return ""
	}
	return string(value)
}

func number(data []byte, name string) int64 {
	_, rest, _ := bytes.Cut(data, []byte(name))
	digits, _, _ := strings.Cut(string(rest[:min(len(rest), 20)]), ",")
	value, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
	if err != nil {
		return 0
	}
	return value
}
