package xingchen

import "iter"

// wordLive lets a reply be made while it is told. It waits for the first piece, so that a reply that cannot be made at all
// is refused before the stream begins.
func (s *Server) wordLive(e *exchange, streamer Streamer) error {
	next, stop := iter.Pull2(streamer.Stream(e.call.r.Context(), e.prompt))
	first, err, more := next()
	if more && err != nil {
		stop()
		return s.errWording(e.call, err)
	}
	e.finish = "stop"
	e.live = func(yield func(string, error) bool) {
		defer stop()
		left := s.limit(e)
		for piece, err := first, error(nil); more; piece, err, more = next() {
			if err != nil {
				yield("", err)
				return
			}
			runes := []rune(piece)
			if left >= 0 && len(runes) > left {
				e.finish = "length"
				if left > 0 {
					yield(string(runes[:left]), nil)
				}
				return
			}
			left -= min(len(runes), max(left, 0))
			if !yield(piece, nil) {
				return
			}
		}
	}
	return nil
}

// pieces are the texts of a stream's frames.
func (e *exchange) pieces() iter.Seq2[string, error] {
	if e.live != nil {
		return e.live
	}
	return func(yield func(string, error) bool) {
		for _, piece := range pieces(e.reply, e.seed) {
			if !yield(piece, nil) {
				return
			}
		}
	}
}
