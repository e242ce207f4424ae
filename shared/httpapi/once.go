package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// Replays keeps the answers of idempotent routes, so that a request which is sent again is
// answered again and not carried out again. Package idempotency keeps them in JetStream.
type Replays interface {
	// Reserve claims an id for the request with this digest, durably and against all other
	// instances. If the id is taken the reservation says by what, and is not the caller's.
	// After an error nothing may be carried out.
	Reserve(ctx context.Context, id, digest string) (Reservation, error)
	// Keep turns the reservation into the answer that repeats get from now on.
	Keep(ctx context.Context, held Reservation, answer Answer) error
	// Release gives the id back.
	Release(ctx context.Context, held Reservation) error
}

// Reservation is a claim to an id.
type Reservation struct {
	ID, Digest string
	// Revision is the store's own.
	Revision uint64
	// Lease is how long the claim holds if it is neither kept nor released.
	Lease time.Duration
	// Earlier is what the id was taken by; nil if the reservation is the caller's.
	Earlier *Earlier
}

// Earlier is a request that came before under the same id.
type Earlier struct {
	// Digest of the request.
	Digest string
	// Answer that it got; nil while it is under way.
	Answer *Answer
}

// Answer is an answer that is kept.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	// Omitted tells that the body was too large to be kept.
	Omitted bool
}

const (
	maxIdempotencyKey = 255
	// settleWithin bounds how long keeping or releasing takes.
	settleWithin = 5 * time.Second
	// runningRetry is when to ask again for a request that is under way.
	runningRetry = time.Second
)

// replayed are the headers that belong to an answer rather than to the exchange.
var replayed = []string{"Content-Type", "Location"}

// once serves an idempotent route: the first request with an Idempotency-Key is carried
// out, later ones get its answer.
func (s *Server) once(w http.ResponseWriter, r *http.Request, call *Call, route *Route) error {
	key, given, err := idempotencyKey(r.Header)
	if err != nil {
		return err
	}
	if !given {
		return route.Handler(w, r)
	}
	if s.cfg.Replays == nil {
		return Unavailable("Idempotency-Key cannot be heeded: nothing is there to keep answers in", nil)
	}
	body, err := ReadBody(r)
	if err != nil {
		return err
	}
	id := digest([]byte(call.Key), []byte(route.Pattern), []byte(key))
	request := digest([]byte(r.URL.EscapedPath()), []byte(r.URL.RawQuery), []byte(r.Header.Get("Content-Type")), body)
	held, err := s.cfg.Replays.Reserve(r.Context(), id, request)
	switch {
	case err != nil:
		return Unavailable("the request was not accepted: what keeps answers for Idempotency-Key cannot be reached", err)
	case held.Earlier != nil:
		return repeat(w, *held.Earlier, request)
	}
	return s.first(w, r, route.Handler, held, body)
}

// first carries a request out. Whether its client waits or has left, it is brought to its
// end: so the repeat finds out what has become of it.
func (s *Server) first(w http.ResponseWriter, r *http.Request, handler HandlerFunc, held Reservation, body []byte) error {
	alive := context.WithoutCancel(r.Context())
	ctx, cancel := context.WithTimeout(alive, held.Lease*3/4)
	defer cancel()
	inner := r.WithContext(ctx)
	inner.Body, inner.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))

	draft := &draft{header: w.Header()}
	defer func() { s.settle(alive, held, draft) }() // after a panic too
	if err := handler(draft, inner); err != nil {
		return err
	}
	draft.done = true
	// Whoever has the answer can rely on getting it again.
	s.settle(alive, held, draft)
	return draft.send(w)
}

// settle keeps the answer of a request that was accepted and releases the id of any other.
// It does so once.
func (s *Server) settle(ctx context.Context, held Reservation, d *draft) {
	if d.settled {
		return
	}
	d.settled = true
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	if !d.accepted() {
		if err := s.cfg.Replays.Release(ctx, held); err != nil {
			Line(ctx, zerolog.WarnLevel).Err(err).Msg("an idempotency key stays taken until its lease ends")
		}
		return
	}
	// Releasing would let a repeat do the work a second time. That the answer was not kept is
	// no reason to withhold it.
	if err := s.cfg.Replays.Keep(ctx, held, d.answer()); err != nil {
		Line(ctx, zerolog.ErrorLevel).Err(err).Msg("the answer for an idempotency key could not be kept")
	}
}

// repeat answers a request that was there before.
func repeat(w http.ResponseWriter, earlier Earlier, request string) error {
	refuse := func(detail string, wait time.Duration) error {
		return &Error{Status: http.StatusConflict, Code: CodeConflict, Detail: detail, RetryAfter: wait}
	}
	switch {
	case earlier.Digest != request:
		return refuse("the Idempotency-Key was used for another request", 0)
	case earlier.Answer == nil:
		return refuse("the request with this Idempotency-Key is under way", runningRetry)
	case earlier.Answer.Omitted:
		return refuse("the request was carried out, but its answer was too large to be kept", 0)
	}
	maps.Copy(w.Header(), earlier.Answer.Header)
	w.Header().Set("Idempotency-Replayed", "true")
	return (&draft{status: earlier.Answer.Status, body: *bytes.NewBuffer(earlier.Answer.Body)}).send(w)
}

// idempotencyKey reads the header.
func idempotencyKey(h http.Header) (key string, given bool, err error) {
	values := h["Idempotency-Key"]
	if len(values) == 0 {
		return "", false, nil
	}
	key = values[0]
	printable := !strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c > '~' })
	if len(values) > 1 || key == "" || len(key) > maxIdempotencyKey || !printable {
		return "", true, Invalid(FieldError{"Idempotency-Key", "want one key of 1 to 255 printable ASCII characters"})
	}
	return key, true, nil
}

// digest tells lists of texts apart, whatever they hold.
func digest(parts ...[]byte) string {
	hash := sha256.New()
	for _, part := range parts {
		hash.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		hash.Write(part)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// draft is an answer that is kept before it is sent.
type draft struct {
	header        http.Header
	status        int
	body          bytes.Buffer
	done, settled bool
}

func (d *draft) Header() http.Header { return d.header }

func (d *draft) WriteHeader(status int) {
	if d.status == 0 && status >= http.StatusOK {
		d.status = status
	}
}

func (d *draft) Write(p []byte) (int, error) {
	d.WriteHeader(http.StatusOK)
	return d.body.Write(p)
}

// accepted reports whether the handler did what it was asked to.
func (d *draft) accepted() bool { return d.done && d.code() < http.StatusMultipleChoices }

func (d *draft) code() int { return max(d.status, http.StatusOK) }

func (d *draft) answer() Answer {
	answer := Answer{Status: d.code(), Header: http.Header{}, Body: d.body.Bytes()}
	for _, name := range replayed {
		if values := d.header.Values(name); len(values) > 0 {
			answer.Header[name] = values
		}
	}
	return answer
}

func (d *draft) send(w http.ResponseWriter) error {
	w.WriteHeader(d.code())
	if _, err := w.Write(d.body.Bytes()); err != nil {
		return errors.Join(errors.New("write answer"), err)
	}
	return nil
}
