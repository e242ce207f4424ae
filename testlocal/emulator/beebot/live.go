package beebot

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"
)

// silent is the refusal of a model's error, which is throttling if it has a method Throttled
// that returns true.
func silent(err error) *refusal {
	var busy interface{ Throttled() bool }
	if errors.As(err, &busy) && busy.Throttled() {
		return throttled(1000)
	}
	return refuse(http.StatusInternalServerError, codeInternalError, "The model did not answer.")
}

// tellLive writes snapshots of an answer while it is being made, each at least as much longer
// than the one before as those of a script are, and returns the whole.
func (t *stream) tellLive(ctx context.Context, render *renderer, contentType string, ask Ask, words []string) (string, *refusal) {
	t.frames.Live = true
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var text strings.Builder
	render.generated(contentType, "", words)
	shown, count := 0, 0
	for piece, err := range t.s.cfg.Streamer(ctx, ask) {
		if err != nil {
			return "", silent(err)
		}
		if t.cancelled.Load() != nil {
			_ = t.write(render.frame(render.runes(), true), true)
			return string([]rune(text.String())[:shown]), nil
		}
		text.WriteString(piece)
		if count += utf8.RuneCountInString(piece); count-shown < t.s.cfg.Assume.SnapshotRunes {
			continue
		}
		shown = count
		render.setText(text.String())
		if t.write(render.frame(render.runes(), false), false) != nil {
			return text.String(), nil // the client has left
		}
	}
	render.setText(text.String())
	for range t.s.cfg.Assume.Repeats - 1 {
		if t.write(render.frame(render.runes(), false), false) != nil {
			return text.String(), nil
		}
	}
	_ = t.write(render.frame(render.runes(), true), true)
	return text.String(), nil
}
