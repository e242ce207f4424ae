package jobs

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// Redact says what the contents of an export's messages must not hold. Each thing that is
// found is replaced; ids are left as they are.
type Redact struct {
	// Kinds of what is looked for: [RedactPhone] and the like.
	Kinds []string `json:"kinds,omitempty"`
	// Patterns are looked for beside them.
	Patterns []RedactPattern `json:"patterns,omitempty"`
	// Replacement stands where something was found, with the kind or the pattern's name in
	// place of "{kind}". Default [DefaultReplacement].
	Replacement string `json:"replacement,omitempty"`
}

// RedactPattern is a regular expression of the user's own, in the syntax of RE2.
type RedactPattern struct {
	// Name is what it is counted under.
	Name string `json:"name"`
	// Regexp is left out in manifests: what is to be kept secret may stand in it.
	Regexp string `json:"regexp,omitempty"`
}

// The kinds of what can be redacted.
const (
	RedactPhone    = "phone"    // of mainland China, mobile or not
	RedactIDCard   = "idCard"   // of mainland China, of 18 digits with their checksum, or of 15
	RedactEmail    = "email"    // with an ASCII domain
	RedactBankCard = "bankCard" // 13 to 19 digits with Luhn's checksum
)

// RedactKinds are all of them.
var RedactKinds = []string{RedactPhone, RedactIDCard, RedactEmail, RedactBankCard}

// DefaultReplacement is what a [Redact] that names none puts in.
const DefaultReplacement = "[{kind}]"

// Limits of a [Redact]: how many patterns, how long they and a replacement may be together,
// in bytes, and how large a pattern may become when it is compiled.
const (
	MaxRedactPatterns    = 32
	MaxRedactBytes       = 4096
	MaxRedactReplacement = 64
	maxInstructions      = 10_000
)

// WithoutPatterns is the same with the patterns' names alone, as manifests have it.
func (r *Redact) WithoutPatterns() *Redact {
	if r == nil {
		return nil
	}
	bare := *r
	bare.Patterns = slices.Clone(r.Patterns)
	for i := range bare.Patterns {
		bare.Patterns[i].Regexp = ""
	}
	return &bare
}

func (r *Redact) check(faults *faults) {
	if r == nil {
		return
	}
	if len(r.Kinds)+len(r.Patterns) == 0 {
		faults.add("redact", "names neither kinds nor patterns")
	}
	seen := map[string]bool{}
	for i, kind := range r.Kinds {
		field := fmt.Sprintf("redact.kinds[%d]", i)
		switch {
		case !slices.Contains(RedactKinds, kind):
			faults.add(field, "%q is not known; there are %s", kind, strings.Join(RedactKinds, ", "))
		case seen[kind]:
			faults.add(field, "%q stands in the list twice", kind)
		}
		seen[kind] = true
	}
	if len(r.Patterns) > MaxRedactPatterns {
		faults.add("redact.patterns", "%d patterns, at most %d", len(r.Patterns), MaxRedactPatterns)
	}
	size := 0
	for i, pattern := range r.Patterns {
		size += len(pattern.Regexp)
		field := fmt.Sprintf("redact.patterns[%d]", i)
		faults.name(field+".name", pattern.Name)
		if slices.Contains(RedactKinds, pattern.Name) || seen[pattern.Name] {
			faults.add(field+".name", "%q is taken", pattern.Name)
		}
		seen[pattern.Name] = true
		if _, err := pattern.Compile(); err != nil {
			faults.add(field+".regexp", "%v", err)
		}
	}
	if size > MaxRedactBytes {
		faults.add("redact.patterns", "%d bytes of patterns, at most %d", size, MaxRedactBytes)
	}
	if size := len(r.Replacement); size == 0 || size > MaxRedactReplacement {
		faults.add("redact.replacement", "must have 1 to %d bytes", MaxRedactReplacement)
	}
}

// Compile returns the pattern's expression. One that could match nothing, or that is too
// large, is refused.
func (p RedactPattern) Compile() (*regexp.Regexp, error) {
	if p.Regexp == "" {
		return nil, errors.New("missing")
	}
	tree, err := syntax.Parse(p.Regexp, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("no expression of RE2: %w", err)
	}
	if !consumes(tree) {
		return nil, errors.New("could match an empty text")
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, fmt.Errorf("cannot be compiled: %w", err)
	}
	if len(program.Inst) > maxInstructions {
		return nil, fmt.Errorf("too large: %d instructions, at most %d", len(program.Inst), maxInstructions)
	}
	return regexp.Compile(p.Regexp)
}

// consumes reports whether every match of an expression has at least one character.
func consumes(tree *syntax.Regexp) bool {
	switch tree.Op {
	case syntax.OpNoMatch, syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return true
	case syntax.OpLiteral:
		return len(tree.Rune) > 0
	case syntax.OpCapture, syntax.OpPlus:
		return consumes(tree.Sub[0])
	case syntax.OpRepeat:
		return tree.Min > 0 && consumes(tree.Sub[0])
	case syntax.OpConcat:
		return slices.ContainsFunc(tree.Sub, consumes)
	case syntax.OpAlternate:
		return !slices.ContainsFunc(tree.Sub, func(sub *syntax.Regexp) bool { return !consumes(sub) })
	default: // stars, options, and what matches between characters
		return false
	}
}
