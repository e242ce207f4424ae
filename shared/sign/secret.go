package sign

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
)

// Redacted is what stands in place of a secret wherever one would be printed.
const Redacted = "[redacted]"

// Secret holds a credential that prints as [Redacted] through fmt, encoding/json, text
// marshalling and any logger built on them. The zero value is an empty secret. It is safe
// for concurrent use and cheap to copy; compare with [Secret.Equal], not with ==.
//
// The value stands behind a pointer, so that even printers that walk unexported fields by
// reflection meet an address and not the text.
type Secret struct{ value *string }

// NewSecret wraps a credential; an empty text gives the zero Secret.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{value: &value}
}

// Reveal returns the credential itself. Call it only where the text goes on the wire.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether the secret is empty.
func (s Secret) IsZero() bool { return s.value == nil }

// Equal compares with a candidate in time that depends on neither text's content nor length.
func (s Secret) Equal(candidate string) bool {
	want, got := sha256.Sum256([]byte(s.Reveal())), sha256.Sum256([]byte(candidate))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

// String returns [Redacted], or nothing for an empty secret.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return Redacted
}

// GoString returns [Redacted] for the verb %#v.
func (s Secret) GoString() string { return s.String() }

// Format prints [Redacted] whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText gives [Redacted] to encoding/json, YAML and loggers.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a credential from a configuration document.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}
