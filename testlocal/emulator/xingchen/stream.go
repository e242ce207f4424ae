package xingchen

import (
	"bytes"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"xinghe/testlocal/emulator/fault"
)

// running is a stream that can be stopped.
type running struct {
	account, sessionID string

	mu      sync.Mutex
	stopped bool
	shown   *string // the text that the caller says was shown
}

func (r *running) stop(shown *string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped, r.shown = true, shown
}

func (r *running) isStopped() (bool, *string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopped, r.shown
}

// stream answers with frames. Each frame is the bare result: text so far, or the new text if increments are wanted. The
// closing frame of a cumulative stream repeats the whole text; of an incremental one it is the last piece.
func (s *Server) stream(e *exchange) error {
	c := e.call
	run := &running{account: c.account}
	if e.question != nil {
		run.sessionID = e.question.SessionID
	}
	s.track(c.requestID, run)
	defer s.untrack(c.requestID)

	header := c.w.Header()
	header.Set("Content-Type", s.cfg.Assume.StreamContentType)
	header.Set("Cache-Control", "no-cache")
	c.w.WriteHeader(http.StatusOK)
	frames := s.frames(e)
	defer frames.Close()
	frames.ErrorFrame = s.errorFrame(c)

	t := &teller{server: s, exchange: e, frames: frames, run: run, builder: s.newFrameBuilder(e)}
	t.incremental = e.req.Parameters.incremental(s.cfg.Assume.IncrementalByDefault)
	// What the connection does is no concern of the state: the answer is stored as far as it was told.
	if err := t.tell(e.pieces()); err != nil && !errors.Is(err, fault.ErrEnded) {
		s.settle(e, t.told())
		return errAnswered
	}
	s.settle(e, t.told())
	return errAnswered
}

// frames paces what is in the script; a reply that is being made has a pace of its own.
func (s *Server) frames(e *exchange) *fault.Frames {
	pace := s.cfg.Pace
	if e.live != nil {
		pace = 0
	}
	frames := fault.NewFrames(e.call.r.Context(), e.call.w, e.call.plan, pace)
	frames.Live = e.live != nil
	return frames
}

func (s *Server) track(requestID string, run *running) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[requestID] = run
}

func (s *Server) untrack(requestID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, requestID)
}

func (s *Server) errorFrame(c *call) []byte {
	var frame bytes.Buffer
	frame.WriteString("event:error\ndata:")
	frame.Write(s.errorBody(s.planned(http.StatusInternalServerError), c.requestID))
	frame.WriteString("\n\n")
	return frame.Bytes()
}

// teller tells one reply frame by frame.
type teller struct {
	server      *Server
	exchange    *exchange
	frames      *fault.Frames
	run         *running
	builder     *frameBuilder
	incremental bool

	index int             // of the piece at hand, from 1
	text  strings.Builder // all that was told
	shown *string         // what a stop says was shown
}

func (t *teller) told() string {
	if t.shown != nil {
		return *t.shown
	}
	return t.text.String()
}

// tell sends a frame for each piece. Where the last piece closes the stream, each is held back until it is known not to be
// the last.
func (t *teller) tell(pieces iter.Seq2[string, error]) error {
	holds := t.incremental && !t.server.cfg.Assume.EmptyClosingFrame
	held := ""
	for piece, err := range pieces {
		if err != nil {
			return errors.Join(t.show(held), t.frames.Write(t.server.errorFrame(t.exchange.call), true))
		}
		if stopped, shown := t.run.isStopped(); stopped {
			t.shown = shown
			return errors.Join(t.show(held), t.close("", "stop"))
		}
		if holds {
			held, piece = piece, held
		}
		if err := t.show(piece); err != nil {
			return err
		}
	}
	t.text.WriteString(held)
	return t.close(held, t.exchange.finish)
}

// show sends the frame of a piece; an empty one has none.
func (t *teller) show(piece string) error {
	if piece == "" {
		return nil
	}
	t.index++
	t.text.WriteString(piece)
	content := piece
	if !t.incremental {
		content = t.text.String()
	}
	if t.exchange.call.plan.Rewrites(t.index) {
		content = "换句话说," + content
	}
	return t.frames.Write(t.builder.frame(content), false)
}

// close stores the answer and sends the frame that ends the stream.
func (t *teller) close(increment, finish string) error {
	t.server.settle(t.exchange, t.told())
	content := increment
	if !t.incremental {
		content = t.text.String()
		if t.exchange.call.plan.Rewrites(1 << 20) {
			content = "换句话说," + content
		}
	}
	frame, err := t.builder.closing(content, finish, t.text.String())
	if err != nil {
		return err
	}
	return t.frames.Write(frame, true)
}

// frameBuilder builds the frames of one stream; what does not change is encoded once.
type frameBuilder struct {
	server   *Server
	exchange *exchange
	head     []byte
	middle   []byte
	tail     []byte
	buf      []byte
}

func (s *Server) newFrameBuilder(e *exchange) *frameBuilder {
	b := &frameBuilder{server: s, exchange: e}
	b.head = append(b.lead("success"), `{"requestId":`...)
	b.head = strconv.AppendQuote(b.head, e.call.requestID)
	b.head = append(b.head, `,"choices":[{"messages":[{"role":"assistant","content":`...)
	b.middle = []byte(`,"finishReason":"null"}],"stopReason":"null"}],`)
	context, err := encode(s.shortContext(e))
	if err != nil {
		context = []byte("{}")
	}
	b.tail = append(append([]byte(`"context":`), context...), ",\"stop\":false}\n\n"...)
	return b
}

// lead is what stands before the JSON of a frame.
func (b *frameBuilder) lead(event string) []byte {
	var lead []byte
	if b.server.cfg.Assume.Heartbeat {
		lead = append(lead, ": heartbeat\n"...)
	}
	if b.server.cfg.Assume.EventLines {
		lead = append(append(append(lead, "event:"...), event...), '\n')
	}
	lead = append(lead, "data:"...)
	if b.server.cfg.Assume.SpaceAfterData {
		lead = append(lead, ' ')
	}
	return lead
}

// frame is good until the next call.
func (b *frameBuilder) frame(content string) []byte {
	b.buf = append(b.buf[:0], b.head...)
	b.buf = appendJSONText(b.buf, content)
	b.buf = append(b.buf, b.middle...)
	if b.server.cfg.Assume.UsageEverywhere {
		if usage, err := encode(b.server.usage(b.exchange, content)); err == nil {
			b.buf = append(append(append(b.buf, `"usage":`...), usage...), ',')
		}
	}
	b.buf = append(b.buf, b.tail...)
	return b.buf
}

func (b *frameBuilder) closing(content, finish, all string) ([]byte, error) {
	s, e := b.server, b.exchange
	last := choice{
		Messages:   []choiceMessage{{Role: "assistant", Content: content, FinishReason: finish}},
		StopReason: finish,
	}
	body, err := encode(chatResult{
		RequestID: e.call.requestID, Choices: []choice{last}, Usage: s.usage(e, all), Context: s.context(e), Stop: true,
	})
	if err != nil {
		return nil, err
	}
	return append(append(b.lead(finish), body...), "\n\n"...), nil
}

// appendJSONText appends text as a JSON string. Texts that need more than the common escapes go the long way.
func appendJSONText(dst []byte, text string) []byte {
	if !utf8.ValidString(text) {
		quoted, _ := json.Marshal(text) // a string cannot fail
		return append(dst, quoted...)
	}
	dst = append(dst, '"')
	start := 0
	for i := range len(text) {
		c := text[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, text[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		default:
			dst = append(dst, '\\', 'u', '0', '0', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		}
	}
	return append(append(dst, text[start:]...), '"')
}

type stopRequest struct {
	SessionID string  `json:"sessionId"`
	RequestID string  `json:"requestId"`
	AnswerID  string  `json:"answerId"`
	Content   *string `json:"content"`
}

// stop ends a stream that runs: its next frame is its last. If content says what was shown, that is stored.
func (s *Server) stop(c *call) (any, error) {
	var req stopRequest
	if err := decode(c.body, &req); err != nil {
		return nil, err
	}
	if req.SessionID == "" && req.RequestID == "" && req.AnswerID == "" {
		return nil, errParam.naming("sessionId or requestId must not be empty")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	stopped := false
	for id, run := range s.running {
		named := id == req.RequestID || req.SessionID != "" && run.sessionID == req.SessionID
		if run.account == c.account && named {
			run.stop(req.Content)
			stopped = true
		}
	}
	return stopped, nil
}
