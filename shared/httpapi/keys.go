package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
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
	file string
	now  func() time.Time

	mu      sync.RWMutex
	keys    []*Key
	stamp   time.Time // of the file that the keys were read from
	checked time.Time
}

// ParseKeys reads keys from text: a plain comma-separated list of keys with all scopes, or
// a JSON list of {"name","sha256","scopes","rps"}, where rps limits requests a second
// (0 = no limit; bursts of one second's worth pass).
func ParseKeys(text string) (*Keys, error) {
	keys, err := parseKeys(text)
	if err != nil {
		return nil, err
	}
	return &Keys{keys: keys, now: time.Now}, nil
}

// KeysFromFile reads keys in the format of [ParseKeys] from a file, and reads it again
// when it changes (looked at no more than once a second, while requests come). A change
// that cannot be read leaves the former keys in force.
func KeysFromFile(path string) (*Keys, error) {
	k := &Keys{file: path, now: time.Now}
	if err := k.reload(); err != nil {
		return nil, err
	}
	return k, nil
}

// Authenticate finds the caller's key in the header "Authorization: Bearer <key>".
func (k *Keys) Authenticate(r *http.Request) (*Key, error) {
	k.refresh()
	presented, ok := bearer(r)
	if !ok {
		return nil, &Error{Status: http.StatusUnauthorized, Code: CodeUnauthorized, Detail: "a key is required: Authorization: Bearer <key>"}
	}
	digest := sha256.Sum256([]byte(presented))
	k.mu.RLock()
	defer k.mu.RUnlock()
	var found *Key
	for _, key := range k.keys {
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

// refresh reads the file again if it has changed.
func (k *Keys) refresh() {
	if k.file == "" {
		return
	}
	now := k.now()
	k.mu.Lock()
	due := now.Sub(k.checked) >= time.Second
	if due {
		k.checked = now
	}
	stamp := k.stamp
	k.mu.Unlock()
	if !due {
		return
	}
	if info, err := os.Stat(k.file); err == nil && !info.ModTime().Equal(stamp) {
		// The next change is another chance; until then the former keys hold.
		_ = k.reload()
	}
}

func (k *Keys) reload() error {
	info, err := os.Stat(k.file)
	if err != nil {
		return fmt.Errorf("keys file: %w", err)
	}
	text, err := os.ReadFile(k.file)
	if err != nil {
		return fmt.Errorf("keys file: %w", err)
	}
	keys, err := parseKeys(string(text))
	if err != nil {
		return fmt.Errorf("keys file %s: %w", k.file, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys, k.stamp = keys, info.ModTime()
	return nil
}

func parseKeys(text string) ([]*Key, error) {
	text = strings.TrimSpace(text)
	if !strings.HasPrefix(text, "[") {
		return plainKeys(text)
	}
	var entries []struct {
		Name   string  `json:"name"`
		SHA256 string  `json:"sha256"`
		Scopes []Scope `json:"scopes"`
		RPS    float64 `json:"rps"`
	}
	if err := json.Unmarshal([]byte(text), &entries); err != nil {
		return nil, fmt.Errorf("not a JSON list of keys: %w", err)
	}
	var keys []*Key
	var faults []error
	for i, entry := range entries {
		key := &Key{Name: entry.Name, scopes: entry.Scopes}
		digest, err := hex.DecodeString(entry.SHA256)
		if err != nil || len(digest) != sha256.Size {
			faults = append(faults, fmt.Errorf("key %d: sha256: want 64 hex digits", i))
		}
		copy(key.digest[:], digest)
		if entry.Name == "" {
			faults = append(faults, fmt.Errorf("key %d: name: missing", i))
		}
		for _, scope := range entry.Scopes {
			if !slices.Contains(Scopes, scope) {
				faults = append(faults, fmt.Errorf("key %d: scopes: %q is none of %v", i, scope, Scopes))
			}
		}
		if entry.RPS < 0 {
			faults = append(faults, fmt.Errorf("key %d: rps: negative", i))
		}
		if entry.RPS > 0 {
			key.limiter = rate.NewLimiter(rate.Limit(entry.RPS), max(1, int(entry.RPS)))
		}
		keys = append(keys, key)
	}
	return keys, errors.Join(faults...)
}

func plainKeys(text string) ([]*Key, error) {
	var keys []*Key
	for value := range strings.SplitSeq(text, ",") {
		if value = strings.TrimSpace(value); value != "" {
			keys = append(keys, &Key{Name: fmt.Sprintf("key-%d", len(keys)+1), digest: sha256.Sum256([]byte(value)), scopes: Scopes})
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("no keys: nobody could call")
	}
	return keys, nil
}
