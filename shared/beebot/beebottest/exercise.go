package beebottest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"xinghe/shared/beebot"
	"xinghe/shared/upstream"
)

// Target is what is to be checked. Client and InstanceID are required; checks that lack what
// they need are skipped and say so.
type Target struct {
	Client *beebot.Client
	// InstanceID is a robot of the edition 通义, which streams.
	InstanceID string
	// ClassicInstanceID is a robot of the older edition, which answers Chat. It may be the same
	// where a stand-in serves both.
	ClassicInstanceID string
	// WrongSecret is a client whose secret does not belong to its access key.
	WrongSecret *beebot.Client
	// Transport posts to the address that StreamAccess gives, default [http.DefaultTransport].
	Transport http.RoundTripper
	// Questions are asked one after the other in one session, default two that any robot
	// answers somehow.
	Questions [2]string
	// SenderPrefix begins the ids of all visitors, default "conformance".
	SenderPrefix string
	// Timeout bounds each check, default 2 min.
	Timeout time.Duration
}

// check is one behaviour; its name is a sentence.
type check struct {
	name string
	run  func(context.Context, *session) error
}

var checks = []check{
	{"HandsOutStreamCredentials", handsOutStreamCredentials},
	{"StreamsTwoTurnsOfOneSession", streamsTwoTurnsOfOneSession},
	{"StreamsToAPlainPost", streamsToAPlainPost},
	{"ChatsTwoTurnsOfOneSession", chatsTwoTurnsOfOneSession},
	{"RefusesAnUnknownRobot", refusesAnUnknownRobot},
	{"RefusesToChatAsAnUnknownRobot", refusesToChatAsAnUnknownRobot},
	{"RefusesAWrongSecret", refusesAWrongSecret},
	{"StopsALongUtteranceAtHome", stopsALongUtteranceAtHome},
}

// Exercise makes every check, each as a subtest.
func Exercise(t *testing.T, target Target) {
	t.Helper()
	s, err := begin(target)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			err := s.make(t.Context(), c)
			if reason, ok := errors.AsType[skipped](err); ok {
				t.Skip(reason)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// Audit makes every check outside of a test and returns what does not conform, by the name
// of the check; what was skipped is not in it. Its error says that the target lacks what is
// required.
func Audit(ctx context.Context, target Target) (map[string]error, error) {
	s, err := begin(target)
	if err != nil {
		return nil, err
	}
	failed := make(map[string]error)
	for _, c := range checks {
		err := s.make(ctx, c)
		if _, ok := errors.AsType[skipped](err); err != nil && !ok {
			failed[c.name] = err
		}
	}
	return failed, nil
}

// session is one run of the checks.
type session struct {
	Target
	run string // tells this run's visitors from those of all others
}

func begin(target Target) (*session, error) {
	if target.Client == nil || target.InstanceID == "" {
		return nil, errors.New("beebottest: Target has no Client or no InstanceID")
	}
	if target.Transport == nil {
		target.Transport = http.DefaultTransport
	}
	target.SenderPrefix = cmp.Or(target.SenderPrefix, "conformance")
	target.Timeout = cmp.Or(target.Timeout, 2*time.Minute)
	target.Questions[0] = cmp.Or(target.Questions[0], "你有什么技能?")
	target.Questions[1] = cmp.Or(target.Questions[1], "请再说详细一点")
	return &session{Target: target, run: strings.ToLower(rand.Text()[:10])}, nil
}

// make makes a check and returns what it found, or why it is skipped.
func (s *session) make(ctx context.Context, c check) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	return c.run(ctx, s)
}

func (s *session) sender(name string) string { return s.SenderPrefix + "-" + s.run + "-" + name }

// unknownRobot has the form of an id that nothing has.
func (s *session) unknownRobot() string { return "chatbot-cn-none" + s.run }

// skipped is why a check was not made.
type skipped string

func (s skipped) Error() string { return string(s) }

// findings collects what does not conform.
type findings []error

func (f *findings) expect(ok bool, format string, args ...any) {
	if !ok {
		*f = append(*f, fmt.Errorf(format, args...))
	}
}

// refusal expects an error of upstream of one of these kinds that can be traced.
func (f *findings) refusal(err error, what string, kinds ...upstream.Kind) {
	refused, ok := errors.AsType[*beebot.Error](err)
	if !ok {
		f.expect(false, "%s: got %w, want an error of the service", what, orNone(err))
		return
	}
	known := false
	for _, kind := range kinds {
		known = known || refused.Kind() == kind
	}
	f.expect(known, "%s: got an error of kind %q, want one of %q: %w", what, refused.Kind(), kinds, err)
	f.expect(refused.RequestID != "", "%s: the error carries no request id: %w", what, err)
}

// local expects that the client itself names a field, and that nothing was sent.
func (f *findings) local(err error, field, what string) {
	fault, ok := errors.AsType[*upstream.FieldError](err)
	f.expect(ok && fault.Field == field, "%s: got %w, want a complaint about %s", what, orNone(err), field)
}

func (f *findings) err() error { return errors.Join(*f...) }

var errNone = errors.New("no error")

func orNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}
