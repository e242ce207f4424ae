package xingchentest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"xinghe/shared/upstream"
	"xinghe/shared/xingchen"
)

// Target is what is to be checked. Only Client is required; checks that lack what they need
// are skipped and say so.
type Target struct {
	Client *xingchen.Client
	// Other is a client of a second account, for the checks of permissions.
	Other *xingchen.Client
	// WrongKey is a client whose key the service does not know.
	WrongKey *xingchen.Client
	// CharacterID is a platform character that Client may chat with. By default one is created,
	// and deleted at the end.
	CharacterID string
	// UserPrefix begins the ids of all end users, default "conformance".
	UserPrefix string
	// Model is asked of chats; default the service's.
	Model string
	// Reproducible says that the same question under the same seed gets the same words. Models
	// of today do not promise it.
	Reproducible bool
	// Lag is how long the history may be behind what was said, default 10 s.
	Lag time.Duration
	// Timeout bounds each check, default 3 min.
	Timeout time.Duration
}

// check is one behaviour; its name is a sentence.
type check struct {
	name string
	run  func(context.Context, *session) error
}

var checks = []check{
	{"AnswersInTheEnvelope", answersInTheEnvelope},
	{"AnswersWhole", answersWhole},
	{"StreamsTheWholeTextSoFar", streamsTheWholeTextSoFar},
	{"StreamsIncrements", streamsIncrements},
	{"SaysTheSameInEveryForm", saysTheSameInEveryForm},
	{"PlaysACustomCharacter", playsACustomCharacter},
	{"StreamsACustomCharacter", streamsACustomCharacter},
	{"KeepsTheConversation", keepsTheConversation},
	{"PagesTheHistory", pagesTheHistory},
	{"NarrowsTheHistoryByTime", narrowsTheHistoryByTime},
	{"KeepsARating", keepsARating},
	{"KeepsAReminder", keepsAReminder},
	{"ChatsOnAfterAReset", chatsOnAfterAReset},
	{"KeepsACharacterUntilItIsDeleted", keepsACharacterUntilItIsDeleted},
	{"GuardsAPrivateCharacter", guardsAPrivateCharacter},
	{"RefusesAnUnknownCharacter", refusesAnUnknownCharacter},
	{"RefusesToStreamAnUnknownCharacter", refusesToStreamAnUnknownCharacter},
	{"RefusesAnIncompleteCharacter", refusesAnIncompleteCharacter},
	{"RefusesAWrongKey", refusesAWrongKey},
	{"HasNoPictureForAnUnknownID", hasNoPictureForAnUnknownID},
}

// Exercise makes every check, each as a subtest.
func Exercise(t *testing.T, target Target) {
	t.Helper()
	s, err := begin(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.end(t.Context()); err != nil {
			t.Error(err)
		}
	})
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
// of the check; what was skipped is not in it. Its error says that there was no character to
// begin with, or that it could not be deleted.
func Audit(ctx context.Context, target Target) (map[string]error, error) {
	s, err := begin(ctx, target)
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
	return failed, s.end(ctx)
}

// session is one run of the checks.
type session struct {
	Target
	run  string // tells this run's users and characters from those of all others
	made string // the character to delete at the end
	talk *talk  // held once, by the first check that needs it
}

func begin(ctx context.Context, target Target) (*session, error) {
	if target.Client == nil {
		return nil, errors.New("xingchentest: Target has no Client")
	}
	target.UserPrefix = cmp.Or(target.UserPrefix, "conformance")
	target.Lag = cmp.Or(target.Lag, 10*time.Second)
	target.Timeout = cmp.Or(target.Timeout, 3*time.Minute)
	s := &session{Target: target, run: strings.ToLower(rand.Text()[:10])}
	if s.CharacterID != "" {
		return s, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	ref, err := s.Client.CreateCharacter(ctx, s.character("talk"))
	if err != nil {
		return nil, fmt.Errorf("xingchentest: create a character to chat with: %w", err)
	}
	s.CharacterID, s.made = ref.CharacterID, ref.CharacterID
	return s, nil
}

func (s *session) end(ctx context.Context) error {
	if s.made == "" {
		return nil
	}
	if err := s.discard(ctx, s.made); err != nil {
		return fmt.Errorf("xingchentest: delete character %s: %w", s.made, err)
	}
	return nil
}

// discard deletes a character even if the run was cancelled.
func (s *session) discard(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Timeout)
	defer cancel()
	return s.Client.DeleteCharacter(ctx, xingchen.CharacterRef{CharacterID: id})
}

// make makes a check and returns what it found, or why it is skipped.
func (s *session) make(ctx context.Context, c check) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	return c.run(ctx, s)
}

func (s *session) user(name string) string { return s.UserPrefix + "-" + s.run + "-" + name }

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

// refusal expects an error of upstream of this kind that can be traced.
func (f *findings) refusal(err error, kind upstream.Kind, what string) {
	refused, ok := errors.AsType[*xingchen.Error](err)
	if !ok {
		f.expect(false, "%s: got %w, want an error of the service", what, orNone(err))
		return
	}
	f.expect(refused.Kind() == kind, "%s: got an error of kind %q, want %q: %w", what, refused.Kind(), kind, err)
	f.expect(refused.RequestID != "", "%s: the error carries no request id: %w", what, err)
}

func (f *findings) err() error { return errors.Join(*f...) }

var errNone = errors.New("no error")

func orNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}
