package fault

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strconv"
	"unicode/utf8"
)

// defaultHuge is the size of a Huge frame: 5 MB.
const defaultHuge = 5 << 20

// mangle changes the bytes of one frame of a stream.
func (p *Plan) mangle(frame []byte, index int) []byte {
	if rule, ok := p.strikesFrame(Huge, index); ok {
		frame = pad(frame, orDefault(rule.Bytes, defaultHuge))
	}
	if _, ok := p.strikesFrame(InvalidUTF8, index); ok {
		frame = breakRune(frame)
	}
	if _, ok := p.strikesFrame(MalformedJSON, index); ok {
		frame = unclose(frame)
	}
	if p.Has(Comment) {
		frame = append([]byte(": ping\n"), frame...)
	}
	if p.Has(CRLF) {
		frame = bytes.ReplaceAll(frame, []byte("\n"), []byte("\r\n"))
	}
	return frame
}

func (p *Plan) strikesFrame(name Name, index int) (Rule, bool) {
	rule, ok := p.Rule(name)
	return rule, ok && index == orDefault(rule.AtFrame, 1)
}

// pad makes the first JSON object of data at least size bytes long by a member of its own.
func pad(data []byte, size int) []byte {
	open := bytes.IndexByte(data, '{')
	if open < 0 || len(data) >= size {
		return data
	}
	fill := []byte("填")
	count := (size - len(data)) / len(fill)
	out := slices.Grow(append([]byte(nil), data[:open+1]...), size+32)
	out = append(out, `"padding":"`...)
	for range count {
		out = append(out, fill...)
	}
	out = append(out, '"')
	if rest := bytes.TrimLeft(data[open+1:], " \t\r\n"); len(rest) > 0 && rest[0] != '}' {
		out = append(out, ',')
	}
	return append(out, data[open+1:]...)
}

// breakRune replaces the middle of the first rune beyond ASCII with a byte that UTF-8 never has; failing that, the last
// letter of the last text.
func breakRune(data []byte) []byte {
	out := slices.Clone(data)
	if i := bytes.IndexFunc(out, func(r rune) bool { return r >= utf8.RuneSelf }); i >= 0 {
		out[min(i+1, len(out)-1)] = 0xff
		return out
	}
	if i := bytes.LastIndexByte(out, '"'); i > 0 {
		out[i-1] = 0xff
	}
	return out
}

// unclose takes the last closing brace away.
func unclose(data []byte) []byte {
	i := bytes.LastIndexByte(data, '}')
	if i < 0 {
		return data
	}
	return slices.Delete(slices.Clone(data), i, i+1)
}

// splitPoint is a place inside the frame, inside a rune if it has one beyond ASCII.
func splitPoint(frame []byte, plan *Plan) int {
	if len(frame) < 2 {
		return len(frame)
	}
	start := 1 + plan.IntN(len(frame)-1)
	for i := start; i < len(frame); i++ {
		if !utf8.RuneStart(frame[i]) {
			return i
		}
	}
	if i := bytes.IndexFunc(frame, func(r rune) bool { return r >= utf8.RuneSelf }); i >= 0 {
		return i + 1
	}
	return start
}

// Respond writes a whole answer, struck by the faults of bytes and connection; a nil plan just writes it. The body must
// not be changed afterwards by the caller's other goroutines. It reports what the connection said, or [ErrEnded].
func (p *Plan) Respond(ctx context.Context, w http.ResponseWriter, status int, contentType string, body []byte) error {
	header := w.Header()
	header.Set("Content-Type", contentType)
	if p == nil {
		header.Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(status)
		_, err := w.Write(body)
		return err
	}
	body = p.mangleBody(body)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	frames := NewFrames(ctx, w, p, 0)
	frames.index = 1
	if p.placed(Stall, 1) {
		if ended, err := frames.stall(); ended {
			return err
		}
	}
	if p.placed(Reset, 1) || p.placed(HalfClose, 1) || p.Has(Cut) {
		_ = frames.send(body[:len(body)/2], true)
		drop(w, p.Has(Reset))
		return ErrEnded
	}
	return frames.sendUpTo(body)
}

// placed reports whether the fault strikes at a frame; an answer that is no stream has one frame, so any number will do.
func (p *Plan) placed(name Name, least int) bool {
	rule, ok := p.Rule(name)
	return ok && (rule.AtFrame >= least || name == Stall && rule.AtByte == 0)
}

func (p *Plan) mangleBody(body []byte) []byte {
	if rule, ok := p.Rule(Huge); ok {
		body = pad(body, orDefault(rule.Bytes, defaultHuge))
	}
	if p.Has(InvalidUTF8) {
		body = breakRune(body)
	}
	if p.Has(MalformedJSON) {
		body = unclose(body)
	}
	return body
}
