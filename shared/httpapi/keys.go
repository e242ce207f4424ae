package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Scope is what a key may do.
type Scope string

// The scopes.
const (
	ScopeChat           Scope = "chat"
	ScopeMessageRead    Scope = "message:read"
	ScopeMessageWrite   Scope = "message:write" // ratings, reminders, pictures
	ScopeCharacterRead  Scope = "character:read"
	ScopeCharacterWrite Scope = "character:write"
	ScopeExport         Scope = "export"
	ScopeWebhook        Scope = "webhook"
	ScopeUpstream       Scope = "upstream" // routes of upstream that are forwarded as they are
)

// Scopes lists all scopes.
var Scopes = []Scope{
	ScopeChat, ScopeMessageRead, ScopeMessageWrite, ScopeCharacterRead, ScopeCharacterWrite,
	ScopeExport, ScopeWebhook, ScopeUpstream,
}

// Key is one caller. Only the SHA-256 of the key itself is kept.
type Key struct {
	// Name for logs and usage.
	Name string

	digest  [sha256.Size]byte
	scopes  []Scope
	limiter *rate.Limiter
}

// Has reports whether the key has a scope.
func (k *Key) Has(scope Scope) bool { return slices.Contains(k.scopes, scope) }

// take spends one request of the key's rate.
func (k *Key) take(now time.Time) error {
	if k.limiter == nil {
		return nil
	}
	reservation := k.limiter.ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait == 0 {
		return nil
	}
	reservation.CancelAt(now)
	return &Error{Status: http.StatusTooManyRequests, Code: CodeRateLimited, Detail: "the key's rate is used up", RetryAfter: wait}
}

// Keys authenticates callers. It is safe for concurrent use.
type Keys struct {
	now  func() time.Time
	keys atomic.Pointer[[]*Key]
	file *keysFile // nil if they come from nowhere else
}

// ParseKeys reads keys from text: a plain comma-separated list of keys with all scopes, or
// a JSON list of {"name","sha256","scopes","rps"}, where rps limits requests a second
// (0 = no limit; bursts of one second's worth pass).
func ParseKeys(text string) (*Keys, error) {
	list, err := parseKeys(text)
	if err != nil {
		return nil, err
	}
	k := &Keys{now: time.Now}
	k.keys.Store(&list)
	return k, nil
}

// Authenticate finds the caller's key in the header "Authorization: Bearer <key>".
func (k *Keys) Authenticate(r *http.Request) (*Key, error) {
	if k.file != nil {
		k.refresh(r.Context())
	}
	presented, ok := bearer(r)
	if !ok {
		return nil, &Error{Status: http.StatusUnauthorized, Code: CodeUnauthorized, Detail: "a key is required: Authorization: Bearer <key>"}
	}
	digest := sha256.Sum256([]byte(presented))
	var found *Key
	for _, key := range *k.keys.Load() {
		if subtle.ConstantTimeCompare(key.digest[:], digest[:]) == 1 {
			found = key
		}
	}
	if found == nil {
		return nil, &Error{Status: http.StatusUnauthorized, Code: CodeUnauthorized, Detail: "the key is not known"}
	}
	return found, nil
}

func bearer(r *http.Request) (string, bool) {
	scheme, key, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	key = strings.TrimSpace(key)
	return key, ok && strings.EqualFold(scheme, "Bearer") && key != ""
}

func parseKeys(text string) ([]*Key, error) {
	text = strings.TrimSpace(text)
	if !strings.HasPrefix(text, "[") {
		return plainKeys(text)
	}
	var entries []keyEntry
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&entries); err != nil {
		return nil, fmt.Errorf("not a JSON list of keys: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("not a JSON list of keys: more follows the list")
	}
	var keys []*Key
	var faults []error
	for i, entry := range entries {
		key, err := entry.key(keys)
		if err != nil {
			faults = append(faults, fmt.Errorf("key %d: %w", i, err))
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		faults = append(faults, errNoKeys)
	}
	return keys, errors.Join(faults...)
}

// keyEntry is a key as it is written down.
type keyEntry struct {
	Name   string  `json:"name"`
	SHA256 string  `json:"sha256"`
	Scopes []Scope `json:"scopes"`
	RPS    float64 `json:"rps"`
}

// key makes a key that comes after others, or names every fault.
func (e keyEntry) key(others []*Key) (*Key, error) {
	key := &Key{Name: e.Name, scopes: e.Scopes}
	var faults []error
	digest, err := hex.DecodeString(e.SHA256)
	if err != nil || len(digest) != sha256.Size {
		faults = append(faults, errors.New("sha256: want 64 hex digits"))
	}
	copy(key.digest[:], digest)
	if err == nil && slices.ContainsFunc(others, func(other *Key) bool { return other.digest == key.digest }) {
		faults = append(faults, errors.New("sha256: stands twice in the list"))
	}
	if e.Name == "" {
		faults = append(faults, errors.New("name: missing"))
	}
	for _, scope := range e.Scopes {
		if !slices.Contains(Scopes, scope) {
			faults = append(faults, fmt.Errorf("scopes: %q is none of %v", scope, Scopes))
		}
	}
	if e.RPS < 0 {
		faults = append(faults, errors.New("rps: negative"))
	}
	if e.RPS > 0 {
		key.limiter = rate.NewLimiter(rate.Limit(e.RPS), max(1, int(e.RPS)))
	}
	return key, errors.Join(faults...)
}

func plainKeys(text string) ([]*Key, error) {
	var keys []*Key
	for value := range strings.SplitSeq(text, ",") {
		if value = strings.TrimSpace(value); value == "" {
			continue
		}
		// What was meant to be JSON must not become a key with all scopes.
		if strings.ContainsFunc(value, notInKey) {
			return nil, fmt.Errorf("key %d: a key has no spaces, quotes or brackets; is this a broken JSON list?", len(keys)+1)
		}
		keys = append(keys, &Key{Name: fmt.Sprintf("key-%d", len(keys)+1), digest: sha256.Sum256([]byte(value)), scopes: Scopes})
	}
	if len(keys) == 0 {
		return nil, errNoKeys
	}
	return keys, nil
}

func notInKey(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune("{}[]\"'", c) }

var errNoKeys = errors.New("no keys: nobody could call")
