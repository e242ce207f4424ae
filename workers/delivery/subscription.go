package delivery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"xinghe/shared/egress"
	"xinghe/shared/env"
	"xinghe/shared/jobs"
	"xinghe/shared/sign"
	"xinghe/shared/webhook"
)

// Limits of the configuration.
const (
	maxSubscriptions = 200
	maxTypes         = 50
	maxConcurrency   = 256
	// DefaultConcurrency is how many requests a process has under way at a target.
	DefaultConcurrency = 8
)

// Subscription is a target as configured: who wants which events.
type Subscription struct {
	// Name of the target: lower-case letters, digits and -, up to 40. What is known of a
	// target, where it stands in the stream included, is known by its name.
	Name string `json:"name"`
	// URL that events are posted to, with http or https.
	URL sign.Secret `json:"url"`
	// Types of events, "*" for all of them, "export.*" for all that begin so.
	Types []string `json:"types"`
	// Secrets that each attempt is signed with: as a rule one, two while it is replaced.
	// Each is whsec_ and Base64, or env: and the name of a variable that holds it, in a file
	// that the variable with the suffix _FILE names if need be.
	Secrets []sign.Secret `json:"secrets"`
	// Rate bounds the attempts a second of each process; 0 for no bound.
	Rate float64 `json:"rate"`
	// Concurrency bounds the requests under way of each process. Default 8.
	Concurrency int `json:"concurrency"`

	host    string           // of the URL, with its scheme
	filters []string         // subjects of the types
	keys    *webhook.Secrets // made of Secrets, in which no variable is named any more
}

var names = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)

var kinds = regexp.MustCompile(`^([a-z0-9_-]+\.)*([a-z0-9_-]+|\*)$`)

// parse reads a list of subscriptions. Errors name each fault by its place and field, and
// repeat neither an address nor a secret.
func parse(text []byte, vars *env.Vars, outside *egress.Client) ([]Subscription, error) {
	var list []Subscription
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&list); err != nil {
		return nil, fmt.Errorf("no list of webhooks: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("no list of webhooks: more follows its end")
	}
	if len(list) > maxSubscriptions {
		return nil, fmt.Errorf("%d webhooks, at most %d", len(list), maxSubscriptions)
	}
	var faults []error
	seen := map[string]bool{}
	for i := range list {
		s := &list[i]
		fault := func(field string, err error) {
			if err != nil {
				faults = append(faults, fmt.Errorf("[%d].%s: %w", i, field, err))
			}
		}
		fault("name", s.checkName(seen))
		fault("url", s.checkURL(outside))
		fault("types", s.checkTypes())
		fault("secrets", s.checkSecrets(vars))
		if s.Rate < 0 {
			fault("rate", errors.New("below 0"))
		}
		if s.Concurrency < 0 || s.Concurrency > maxConcurrency {
			fault("concurrency", fmt.Errorf("%d: 1 to %d", s.Concurrency, maxConcurrency))
		}
		if s.Concurrency == 0 {
			s.Concurrency = DefaultConcurrency
		}
	}
	return list, errors.Join(faults...)
}

func (s *Subscription) checkName(seen map[string]bool) error {
	if !names.MatchString(s.Name) {
		return fmt.Errorf("%q: 1 to 40 of a-z, 0-9 and -, which it neither begins nor ends with", s.Name)
	}
	if seen[s.Name] {
		return fmt.Errorf("%q is there twice", s.Name)
	}
	seen[s.Name] = true
	return nil
}

func (s *Subscription) checkURL(outside *egress.Client) error {
	if s.URL.IsZero() {
		return errors.New("missing")
	}
	if err := outside.Check(s.URL.Reveal()); err != nil {
		return err
	}
	s.host = hostOf(s.URL.Reveal())
	return nil
}

func (s *Subscription) checkTypes() error {
	if len(s.Types) == 0 {
		return errors.New(`missing; "*" stands for all`)
	}
	if len(s.Types) > maxTypes {
		return fmt.Errorf("%d, at most %d", len(s.Types), maxTypes)
	}
	for _, kind := range s.Types {
		if !kinds.MatchString(kind) {
			return fmt.Errorf(`%q: want a type such as "export.done" or "export.*", or "*"`, kind)
		}
	}
	s.filters = filters(s.Types)
	return nil
}

// filters are the subjects of types. A stream refuses those that overlap, so what another
// one covers is left out.
func filters(types []string) []string {
	var subjects []string
	for i, kind := range types {
		covered := slices.ContainsFunc(types[:i], func(other string) bool { return jobs.ShortType(other) == jobs.ShortType(kind) })
		for _, other := range types {
			wide := strings.HasSuffix(other, "*") && jobs.ShortType(other) != jobs.ShortType(kind)
			covered = covered || wide && jobs.WantsEvent([]string{other}, strings.TrimSuffix(kind, "*"))
		}
		if !covered {
			subject := jobs.EventPrefix + jobs.ShortType(kind)
			if start, all := strings.CutSuffix(subject, "*"); all {
				subject = start + ">"
			}
			subjects = append(subjects, subject)
		}
	}
	return subjects
}

func (s *Subscription) checkSecrets(vars *env.Vars) error {
	secrets := make([]sign.Secret, len(s.Secrets))
	for i, secret := range s.Secrets {
		secrets[i] = secret
		if name, ok := strings.CutPrefix(secret.Reveal(), "env:"); ok {
			if secrets[i] = vars.Secret(name); secrets[i].IsZero() {
				return fmt.Errorf("secret %d of %d: the variable %s is not set, nor a file by %[3]s_FILE", i+1, len(secrets), name)
			}
		}
	}
	var err error
	s.Secrets = secrets
	s.keys, err = webhook.ParseSecrets(secrets...)
	return err
}

// same reports whether nothing has changed.
func (s Subscription) same(other Subscription) bool {
	equal := func(a, b sign.Secret) bool { return a.Equal(b.Reveal()) }
	return s.Name == other.Name && equal(s.URL, other.URL) && slices.Equal(s.Types, other.Types) &&
		slices.EqualFunc(s.Secrets, other.Secrets, equal) && s.Rate == other.Rate && s.Concurrency == other.Concurrency
}

// hostOf is an address without what may give access.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return sign.Redacted
	}
	return u.Scheme + "://" + u.Host
}
