package webhook

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"xinghe/shared/sign"
)

// How many bytes a secret may have, before it is encoded.
const (
	MinSecret = 24
	MaxSecret = 64
)

const prefix = "whsec_"

// Secrets are what a message is signed with: one as a rule, and several while a secret is
// being replaced by another. They are safe for concurrent use and print as nothing secret.
type Secrets struct{ keys []sign.Secret }

// ParseSecrets reads secrets of the form whsec_ and then Base64 of [MinSecret] to
// [MaxSecret] bytes; at least one. Errors tell which one is wrong, by its place from 1, and
// never what it says.
func ParseSecrets(texts ...sign.Secret) (*Secrets, error) {
	if len(texts) == 0 {
		return nil, errors.New("no secret")
	}
	s := &Secrets{keys: make([]sign.Secret, len(texts))}
	for i, text := range texts {
		key, err := parseSecret(text.Reveal())
		if err != nil {
			return nil, fmt.Errorf("secret %d of %d: %w", i+1, len(texts), err)
		}
		s.keys[i] = sign.NewSecret(string(key))
	}
	return s, nil
}

func parseSecret(text string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return nil, errors.New("does not begin with " + prefix)
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, errors.New("no Base64 after " + prefix) // the decoder's words quote it
	}
	if len(key) < MinSecret || len(key) > MaxSecret {
		return nil, fmt.Errorf("%d bytes, want %d to %d", len(key), MinSecret, MaxSecret)
	}
	return key, nil
}

// Len is how many secrets there are.
func (s *Secrets) Len() int { return len(s.keys) }
