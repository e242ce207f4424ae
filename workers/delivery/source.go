package delivery

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/egress"
	"xinghe/shared/env"
)

const (
	// lookEvery is how often a source is looked at for changes.
	lookEvery = time.Second
	maxSource = 1 << 20
)

// Source is where subscriptions come from: a text or a file, and the variables and files
// that hold the secrets which it names.
type Source struct {
	text    string // if there is no path
	path    string
	getenv  func(string) string
	outside *egress.Client // for its checks

	current   []Subscription
	complaint [sha256.Size]byte // of the error that was logged last
}

// SourceFromEnv reads the subscriptions from XINGHE_WEBHOOKS or the file that
// XINGHE_WEBHOOKS_FILE names; nil if neither is set.
func SourceFromEnv(vars *env.Vars, outside egress.Config) (*Source, error) {
	// Only String is called later: it notes no faults, so others may use vars meanwhile.
	getenv := func(name string) string { return vars.String(name, "") }
	text, path := getenv("XINGHE_WEBHOOKS"), getenv("XINGHE_WEBHOOKS_FILE")
	if text == "" && path == "" {
		return nil, nil
	}
	if text != "" && path != "" {
		return nil, errors.New("set together with XINGHE_WEBHOOKS_FILE; use one")
	}
	client, err := egress.New(outside)
	if err != nil {
		return nil, err
	}
	s := &Source{text: text, path: path, getenv: getenv, outside: client}
	if s.current, err = s.load(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Source) load() ([]Subscription, error) {
	text := []byte(s.text)
	if s.path != "" {
		var err error
		if text, err = readFile(s.path); err != nil {
			return nil, err
		}
	}
	vars := env.New(s.getenv)
	list, err := parse(text, vars, s.outside)
	return list, errors.Join(err, vars.Err())
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxSource+1))
	if err == nil && len(text) > maxSource {
		err = fmt.Errorf("%s is longer than %d bytes", path, maxSource)
	}
	return text, err
}

// watch calls changed with the subscriptions whenever they are others, until ctx ends. What
// cannot be used leaves the former ones in force, and is logged once.
func (s *Source) watch(ctx context.Context, changed func([]Subscription)) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		list, err := s.load()
		if err != nil {
			s.complain(ctx, err)
			continue
		}
		s.complaint = [sha256.Size]byte{}
		if !same(s.current, list) {
			s.current = list
			zerolog.Ctx(ctx).Info().Int("webhooks", len(list)).Msg("webhooks were read again")
			changed(list)
		}
	}
}

func (s *Source) complain(ctx context.Context, err error) {
	if sum := sha256.Sum256([]byte(err.Error())); sum != s.complaint {
		s.complaint = sum
		zerolog.Ctx(ctx).Error().Err(err).Msg("webhooks were not read again; the former ones hold")
	}
}

func same(a, b []Subscription) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].same(b[i]) {
			return false
		}
	}
	return true
}
