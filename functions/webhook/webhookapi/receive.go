package webhookapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/httpapi"
)

// message is a webhook whose sender is proven.
type message struct {
	source   *Source
	id       string // the sender's
	signed   string // as in [proof]
	digest   string // of source and id
	body     json.RawMessage
	document any // the body, decoded
}

// receive takes a message: its signature first, over the bytes as they came, then what it
// says, then whether it is new.
func (a *API) receive(w http.ResponseWriter, r *http.Request) error {
	source := a.sources[r.PathValue("source")]
	if source == nil {
		return httpapi.NotFound(fmt.Sprintf("source %q", r.PathValue("source")))
	}
	body, err := httpapi.ReadBody(r)
	if err != nil {
		return err
	}
	proof, err := source.verifier.verify(r.Header, body, a.cfg.Now())
	if err != nil {
		return unproven(err)
	}
	httpapi.CallFrom(r.Context()).Key = source.Name
	m, err := source.read(proof, body)
	if err != nil {
		return err
	}
	act, fields, err := a.choose(m)
	if err != nil {
		return err
	}
	return a.once(w, r, m, func(r *http.Request) (answer, error) {
		done, err := act.do(r, m, fields)
		done.Source, done.ID = source.Name, m.id
		if done.Action == "" {
			done.Action = source.action
		}
		return done, err
	})
}

// unproven refuses a message of which it is not known who has sent it, or when.
func unproven(err error) error {
	return &httpapi.Error{
		Status: http.StatusUnauthorized, Code: httpapi.CodeUnauthorized, Detail: "the signature is not good: " + err.Error(), Challenge: "Signature",
	}
}

// read decodes a message and finds its id.
func (s *Source) read(p proof, body []byte) (message, error) {
	m := message{source: s, id: p.id, signed: p.signed}
	var err error
	if m.body, m.document, err = decode(body); err != nil {
		return m, err
	}
	if p.idAt != nil {
		if m.id, err = p.idAt.word(m.document); err == nil && !goodID(m.id) {
			err = fmt.Errorf("want up to %d printable ASCII characters at %s in the body", maxID, p.idAt.text)
		}
		if err != nil {
			return m, httpapi.Invalid(httpapi.FieldError{Field: "id", Message: err.Error()})
		}
	}
	m.digest = digest(s.Name, "id", m.id)
	return m, nil
}

// choose finds what is to be done with a message, and with which fields.
func (a *API) choose(m message) (action, []byte, error) {
	if !m.source.wants(m.document) {
		return a.actions[actionPublish], nil, nil
	}
	fields, err := m.source.resolve(m.document)
	if err != nil {
		return nil, nil, err
	}
	return m.source.act, fields, m.source.act.check(fields)
}

// once carries a message out unless it was before. Whether its sender waits or has left, it
// is brought to its end, so that a repeat finds out what has become of it.
func (a *API) once(w http.ResponseWriter, r *http.Request, m message, do func(*http.Request) (answer, error)) error {
	held, err := a.reserve(r.Context(), m)
	if err != nil {
		return err
	}
	alive := context.WithoutCancel(r.Context())
	settled := false
	settle := func(accepted bool) {
		if !settled {
			settled = true
			a.settle(alive, held, accepted)
		}
	}
	defer settle(false) // after a panic too
	ctx, cancel := context.WithTimeout(alive, actWithin)
	defer cancel()
	done, err := do(r.WithContext(ctx))
	if err != nil {
		return err
	}
	settle(true)
	if done.location != "" {
		w.Header().Set("Location", done.location)
	}
	return httpapi.WriteJSON(w, done.status, done)
}

// reserve claims the message's id, against all other instances. An id that is not signed
// is claimed together with what is: a message that was sent again under another id is no
// new one.
func (a *API) reserve(ctx context.Context, m message) ([]httpapi.Reservation, error) {
	keys := []string{m.digest}
	if m.signed != "" {
		keys = append(keys, digest(m.source.Name, "signed", m.signed))
	}
	ctx, cancel := a.bounded(ctx)
	defer cancel()
	var held []httpapi.Reservation
	for _, key := range keys {
		reservation, err := a.replays.Reserve(ctx, key, m.digest)
		if err == nil && reservation.Earlier == nil {
			held = append(held, reservation)
			continue
		}
		a.settle(ctx, held, false)
		if err != nil {
			return nil, httpapi.Unavailable("the webhook was not accepted: NATS does not answer", err)
		}
		return nil, replayed(reservation.Earlier)
	}
	return held, nil
}

func replayed(earlier *httpapi.Earlier) error {
	refusal := &httpapi.Error{Status: http.StatusConflict, Code: httpapi.CodeConflict, Detail: "the message was received before"}
	if earlier.Answer == nil {
		refusal.Detail, refusal.RetryAfter = "the message is being carried out", time.Second
	}
	return refusal
}

// settle remembers the ids of a message that was accepted, and gives those of another one
// back, so that it can come again.
func (a *API) settle(ctx context.Context, held []httpapi.Reservation, accepted bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWithin)
	defer cancel()
	for _, reservation := range held {
		if !accepted {
			if err := a.replays.Release(ctx, reservation); err != nil {
				httpapi.Line(ctx, zerolog.WarnLevel).Err(err).Msg("a webhook's id stays taken until its lease ends")
			}
			continue
		}
		if err := a.replays.Keep(ctx, reservation, httpapi.Answer{Status: http.StatusOK}); err != nil {
			httpapi.Line(ctx, zerolog.ErrorLevel).Err(err).Msg("a webhook's id is forgotten when its lease ends")
		}
	}
}

func (a *API) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, a.cfg.Timeout)
}

// digest tells lists of texts apart, whatever they hold.
func digest(parts ...string) string {
	hash := sha256.New()
	for _, part := range parts {
		_, _ = fmt.Fprintf(hash, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(hash.Sum(nil)[:16])
}
