// Package redact finds in texts what could tell who somebody is, and puts something else in
// its place: phone numbers and identity cards of mainland China, e-mail addresses, bank
// cards, and what patterns of the user's own match.
//
//	r, err := redact.New(jobs.Redact{Kinds: []string{jobs.RedactPhone}, Replacement: jobs.DefaultReplacement})
//	text, err := r.Text("打我电话 138-0013-8000", counts) // "打我电话 [phone]"
//
// Digits, letters and signs may be full-width, and numbers may be grouped by spaces, dashes
// and dots, as people type them. Numbers that only look alike are left: those whose
// checksum, date, region or area code cannot be. Numbers in words, and addresses under a
// domain that is not written in ASCII, are not found.
//
// It fails closed: whoever gets an error has no text to hand on.
package redact

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"xinghe/shared/jobs"
)

const (
	// maxText is the longest text that is looked through, in bytes.
	maxText = 1 << 20
	// maxFound is how much may be found in one text.
	maxFound = 100_000
	// patience is how long one text may take.
	patience = 10 * time.Second
)

// Error says that a text could not be looked through. It holds nothing of the text.
type Error struct{ Reason string }

func (e *Error) Error() string { return "redact: " + e.Reason }

// Redactor looks through texts. It is safe for concurrent use.
type Redactor struct {
	finders []finder
	now     func() time.Time
}

// finder finds one kind of things.
type finder struct {
	name        string
	replacement string
	find        func(t *text) ([]span, error)
}

// span is a range of bytes of the text as it was given, and what was found there.
type span struct {
	start, end int
	finder     int
}

// New compiles what is to be found; an [*Error] says what cannot be.
func New(cfg jobs.Redact) (*Redactor, error) {
	r := &Redactor{now: time.Now}
	known := map[string]func(*text) ([]span, error){
		jobs.RedactPhone: phones, jobs.RedactIDCard: idCards, jobs.RedactEmail: emails, jobs.RedactBankCard: bankCards,
	}
	add := func(name string, find func(*text) ([]span, error)) {
		r.finders = append(r.finders, finder{name, strings.ReplaceAll(cfg.Replacement, "{kind}", name), find})
	}
	for _, kind := range cfg.Kinds {
		find, ok := known[kind]
		if !ok {
			return nil, &Error{fmt.Sprintf("kind %q is not known", kind)}
		}
		add(kind, find)
	}
	for _, pattern := range cfg.Patterns {
		expression, err := pattern.Compile()
		if err != nil {
			return nil, &Error{fmt.Sprintf("pattern %q cannot be compiled", pattern.Name)}
		}
		add(pattern.Name, matcher(pattern.Name, expression))
	}
	if len(r.finders) == 0 || cfg.Replacement == "" {
		return nil, &Error{"nothing to find, or nothing to put in its place"}
	}
	return r, nil
}

// Text returns a text in which all that was found is replaced, and adds to counts how often
// that was done, by kind or name. Where findings overlap, the longest one that begins first
// counts for all of them. Errors are [*Error]; counts are then as before.
func (r *Redactor) Text(original string, counts map[string]int64) (redacted string, err error) {
	defer func() {
		if failed := recover(); failed != nil {
			redacted, err = "", &Error{"it broke down"}
		}
	}()
	found, err := r.find(original)
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return original, nil
	}
	var out strings.Builder
	behind := 0
	for _, s := range found {
		out.WriteString(original[behind:s.start])
		out.WriteString(r.finders[s.finder].replacement)
		behind = s.end
	}
	out.WriteString(original[behind:])
	for _, s := range found {
		counts[r.finders[s.finder].name]++
	}
	return out.String(), nil
}

// find returns what is to be replaced, in order and without overlaps.
func (r *Redactor) find(original string) ([]span, error) {
	if len(original) > maxText {
		return nil, &Error{fmt.Sprintf("a text of %d bytes, at most %d can be looked through", len(original), maxText)}
	}
	deadline := r.now().Add(patience)
	t := fold(original)
	var found []span
	for i, f := range r.finders {
		spans, err := f.find(t)
		if err != nil {
			return nil, err
		}
		if r.now().After(deadline) {
			return nil, &Error{fmt.Sprintf("%s takes longer than %s for one text", f.name, patience)}
		}
		for _, s := range spans {
			found = append(found, span{s.start, s.end, i})
		}
		if len(found) > maxFound {
			return nil, &Error{fmt.Sprintf("more than %d findings in one text", maxFound)}
		}
	}
	slices.SortStableFunc(found, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.end, a.end))
	})
	return merged(found), nil
}

// merged joins findings that overlap.
func merged(found []span) []span {
	var apart []span
	for _, s := range found {
		if n := len(apart); n > 0 && s.start < apart[n-1].end {
			apart[n-1].end = max(apart[n-1].end, s.end)
			continue
		}
		apart = append(apart, s)
	}
	return apart
}

// matcher finds an expression in a text as it stands, and in its folded form.
func matcher(name string, expression *regexp.Regexp) func(*text) ([]span, error) {
	return func(t *text) ([]span, error) {
		found := spansOf(expression, t.original, nil)
		if t.origin != nil {
			found = append(found, spansOf(expression, t.folded, t)...)
		}
		if slices.ContainsFunc(found, func(s span) bool { return s.start >= s.end }) {
			return nil, &Error{fmt.Sprintf("pattern %q matches an empty text", name)}
		}
		return found, nil
	}
}

// spansOf finds an expression in a text, of which t tells the origin; nil if it is that.
func spansOf(expression *regexp.Regexp, in string, t *text) (found []span) {
	for _, place := range expression.FindAllStringIndex(in, maxFound+1) {
		found = append(found, t.span(place[0], place[1]))
	}
	return found
}

// Failed reports whether an error says that a text could not be looked through.
func Failed(err error) bool {
	_, ok := errors.AsType[*Error](err)
	return ok
}
