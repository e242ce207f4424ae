package beebot

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"xinghe/testlocal/emulator/fault"
)

const (
	streamRoute = "/sse/paas4Json" // of fault rules
	streamType  = "text/event-stream;charset=UTF-8"
	htmlType    = "text/html;charset=utf-8"
)

// Model words what a language model would say. It should return soon after the context ends.
type Model func(ctx context.Context, ask Ask) (string, error)

// Streamer words it too, and yields its pieces as they come. An error ends it.
type Streamer func(ctx context.Context, ask Ask) iter.Seq2[string, error]

// Ask is what a [Model] is asked.
type Ask struct {
	InstanceID, SessionID, SenderID, Utterance string
	// Scripted is what the robot's definition would have said.
	Scripted string
}

// stream is one stream request on its way.
type stream struct {
	s      *Server
	w      http.ResponseWriter
	now    time.Time
	nth    uint64
	ids    identity
	req    streamRequest
	grant  *grant
	plan   *fault.Plan
	frames *fault.Frames
	record *Record

	session, answerID string // set before the stream can be cancelled
	cancelled         atomic.Pointer[cancellation]
}

func (s *Server) serveStream(w http.ResponseWriter, r *http.Request) {
	now := s.cfg.Now()
	record := Record{Time: now, Method: r.Method, Path: streamRoute, Action: actionStream, Status: http.StatusOK}
	defer func() { s.cfg.Record(record) }()

	where, ok := parseAddress(r.URL.EscapedPath())
	if !ok || r.Method != http.MethodPost {
		record.Status = http.StatusNotFound
		if ok {
			record.Status = http.StatusMethodNotAllowed
			w.Header().Set("Allow", http.MethodPost)
		}
		writeHTML(r.Context(), w, nil, record.Status)
		return
	}
	t := &stream{s: s, w: w, now: now, nth: s.serial.Add(1), record: &record}
	t.ids = s.identityOf(t.nth)
	given, denied := s.checkAddress(where, now)
	req, no := s.readStreamRequest(w, r)
	t.req, t.grant = req, given
	t.note()
	t.plan = s.cfg.Faults.Match(r.Context(), fault.Request{Route: streamRoute, Key: record.AccountID, User: req.question.senderID})
	if !t.plan.Begin(w, r) {
		record.Status = 0
		return
	}
	if denied == nil && t.plan.Has(fault.TokenExpired) {
		denied = s.expiredToken()
	}
	t.answer(r.Context(), denied, no)
}

func (t *stream) note() {
	t.record.MessageID, t.record.Instance = t.req.messageID, t.req.question.instance
	if t.grant != nil {
		t.record.AccountID, t.record.AgentKey = t.grant.account, t.grant.space
	}
}

// answer says no in the way that fits the reason, or runs the conversation.
func (t *stream) answer(ctx context.Context, denied, no *refusal) {
	if planned, ok := t.plan.Refusal(); ok {
		planned.SetHeader(t.w)
		t.refusePlain(ctx, plannedRefusal(planned))
		return
	}
	if denied != nil && t.s.cfg.Assume.StrictStream {
		t.record.Code, t.record.Status = denied.code, http.StatusForbidden
		writeHTML(ctx, t.w, t.plan, http.StatusForbidden)
		return
	}
	t.open(ctx)
	defer t.frames.Close()
	if denied != nil {
		no = denied
	}
	if no == nil {
		no = t.converse(ctx)
	}
	if no != nil {
		t.refuse(no)
	}
}

// refusePlain answers with a status and an envelope, outside of a stream.
func (t *stream) refusePlain(ctx context.Context, no *refusal) {
	t.record.Code, t.record.Status, t.record.RequestID = no.code, no.status, t.ids.uuid()
	body := failure(no, t.req.messageID, t.record.RequestID)
	_ = t.plan.Respond(ctx, t.w, no.status, jsonType, body)
}

func (t *stream) refuse(no *refusal) {
	t.record.Code, t.record.RequestID = no.code, t.ids.uuid()
	_ = t.write(failureFrame(no, t.req.messageID, t.record.RequestID), true)
}

func (t *stream) open(ctx context.Context) {
	header := t.w.Header()
	header.Set("Content-Type", streamType)
	header.Set("Cache-Control", "no-cache")
	t.frames = fault.NewFrames(ctx, t.w, t.plan, t.s.cfg.Pace)
	if t.plan == nil {
		return
	}
	broken := refuse(http.StatusInternalServerError, codeInternalError, "The request processing has failed due to some unknown error.")
	ids := t.s.identityOf(^t.nth)
	t.frames.ErrorFrame = failureFrame(broken, t.req.messageID, ids.uuid())
}

func (t *stream) write(frame []byte, last bool) error {
	err := t.frames.Write(frame, last)
	if err == nil {
		t.record.Frames++
	}
	return err
}

// converse answers a message whose sender and form are in order.
func (t *stream) converse(ctx context.Context) *refusal {
	bot, no := t.s.admitBot(t.req.question, t.grant.space)
	if no != nil {
		return no
	}
	defer t.grant.open.Add(-1)
	if running := t.grant.open.Add(1); t.s.cfg.Assume.MaxStreams > 0 && running > int64(t.s.cfg.Assume.MaxStreams) {
		return throttled(1000)
	}
	if t.s.cfg.Assume.NoReplay {
		return t.reply(ctx, bot, &exchange{nth: t.nth})
	}
	key := t.grant.account + "\x00" + t.grant.space + "\x00" + t.req.messageID
	x, fresh := t.s.messages.begin(key, t.nth, t.now)
	if !fresh {
		if x.running.Load() {
			return refuse(http.StatusConflict, t.s.cfg.Assume.CodeDuplicate, "A message with this messageId is being answered.")
		}
		return t.replay(x)
	}
	defer t.s.messages.finish(key, x)
	return t.reply(ctx, bot, x)
}

// reply decides what to say, says it, and leaves it in the exchange.
func (t *stream) reply(ctx context.Context, bot *robot, x *exchange) *refusal {
	q := t.req.question
	render, session := t.renderer(x.nth, q.session)
	q.session, x.session = session, session
	t.session, t.answerID = session, t.record.RequestID
	defer t.s.live.enter(t)()
	a, no := t.s.turn(bot, q, t.now)
	if no != nil {
		return no
	}
	words := bot.words.segment(q.utterance)
	if t.hasOpening(a) && t.write(render.openingFrame(), false) != nil {
		x.answer, x.words = &a, words
		return nil
	}
	ask := Ask{InstanceID: q.instance, SessionID: q.session, SenderID: q.senderID, Utterance: q.utterance, Scripted: a.text}
	if a.generated && t.s.cfg.Streamer != nil {
		text, no := t.tellLive(ctx, render, a.contentType, ask, words)
		if no == nil {
			a.text = text
			x.answer, x.words = &a, words
			t.keep(q, a)
		}
		return no
	}
	if a.generated && t.s.cfg.Model != nil {
		text, err := t.s.cfg.Model(ctx, ask)
		if err != nil {
			return silent(err)
		}
		a.text = text
	}
	x.answer, x.words = &a, words
	a.text = t.tell(render, a, q, words)
	t.keep(q, a)
	return nil
}

// keep puts the turn into the journal.
func (t *stream) keep(q question, a answer) {
	turn := turnRecord{
		at: t.now, space: t.grant.space, instance: q.instance, session: t.session, sender: q.senderID, messageID: t.answerID,
		chatID: t.req.messageID, question: q.utterance, answer: a.told(), source: a.streamSource(),
	}
	if c := t.cancelled.Load(); c != nil && c.shown != nil {
		turn.answer = *c.shown
	}
	t.s.journal.add(turn)
}

// replay sends the frames of a finished message again.
func (t *stream) replay(x *exchange) *refusal {
	q := t.req.question
	render, _ := t.renderer(x.nth, x.session)
	if t.hasOpening(*x.answer) && t.write(render.openingFrame(), false) != nil {
		return nil
	}
	_ = t.tell(render, *x.answer, q, x.words)
	return nil
}

// renderer begins the frames of the nth request; a new session gets its id here.
func (t *stream) renderer(nth uint64, session string) (*renderer, string) {
	ids := t.s.identityOf(nth)
	answerID, fresh := ids.uuid(), ids.hex()
	if session == "" {
		session = fresh
	}
	t.record.RequestID = answerID
	return newRenderer(ids, t.req.messageID, answerID, session), session
}

func (t *stream) hasOpening(a answer) bool { return a.generated || !t.s.cfg.Assume.BareAnswers }

// tell writes what follows the opening frame, and returns the text as far as it has told it: a
// client that leaves counts as told all, one that cancels as told what it has got.
func (t *stream) tell(render *renderer, a answer, q question, words []string) string {
	if !a.generated {
		render.whole(a.streamSource(), a.streamBody(q), words)
		_ = t.write(render.frame(0, true), true)
		return a.text
	}
	render.generated(a.contentType, a.text, words)
	said, rewritten, shown := false, false, 0
	show := func(runes int, end bool) error {
		if said && !rewritten && t.plan.Rewrites(t.frames.Index()+1) {
			rewritten = true
			render.setText(takeBack(a.text))
		}
		if end {
			runes = render.runes()
		}
		said = said || runes > 0
		return t.write(render.frame(runes, end), end)
	}
	for _, runes := range t.s.cfg.Assume.snapshots(render.runes()) {
		if t.cancelled.Load() != nil {
			_ = t.write(render.frame(shown, true), true)
			return string([]rune(a.text)[:shown])
		}
		if show(runes, false) != nil {
			return a.text
		}
		shown = runes
	}
	_ = show(0, true)
	return a.text
}

// takeBack is a longer text that begins otherwise, so that no snapshot of it extends one of the
// text.
func takeBack(text string) string { return "更正:" + text }

// snapshots lists how many runes of a model's text each frame shows, from after the opening
// frame to before the last.
func (a Assumptions) snapshots(length int) []int {
	out := make([]int, max(a.Empty, 0), max(a.Empty, 0)+length/a.SnapshotRunes+1+a.Repeats)
	for shown := a.SnapshotRunes; shown < length; shown += a.SnapshotRunes {
		out = append(out, shown)
	}
	if length > 0 {
		out = append(out, length)
	}
	for range a.Repeats - 1 {
		out = append(out, length)
	}
	return out
}

// parseAddress takes token, channel, signature and timestamp from the path of a stream
// request, wherever the emulator is mounted.
func parseAddress(path string) (address, bool) {
	_, rest, found := strings.Cut(path, StreamPath)
	parts := strings.Split(rest, "/")
	if !found || len(parts) != 4 {
		return address{}, false
	}
	for i, part := range parts {
		decoded, err := url.PathUnescape(part)
		if err != nil || decoded == "" {
			return address{}, false
		}
		parts[i] = decoded
	}
	return address{token: parts[0], channel: parts[1], sign: parts[2], timestamp: parts[3]}, true
}

// writeHTML is what a gateway in front of the service answers to an address that leads nowhere.
func writeHTML(ctx context.Context, w http.ResponseWriter, plan *fault.Plan, status int) {
	title := http.StatusText(status)
	page := "<html>\n<head><title>" + title + "</title></head>\n<body><h1>" + title + "</h1></body>\n</html>\n"
	_ = plan.Respond(ctx, w, status, htmlType, []byte(page))
}
