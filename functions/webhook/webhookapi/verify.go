package webhookapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"time"

	"xinghe/shared/jobs"
	"xinghe/shared/sign"
	"xinghe/shared/webhook"
)

// verifier proves who has sent a message.
type verifier interface {
	// verify returns what it has proven. The error is for the sender to read.
	verify(h http.Header, body []byte, now time.Time) (proof, error)
}

// proof is what is known of a message whose signature is good.
type proof struct {
	// id is the sender's.
	id string
	// idAt is where the id stands in the body instead.
	idAt *place
	// signed is the digest of all that was signed, where the id was not: then the id alone
	// does not tell whether a message is new.
	signed string
}

// maxTolerance is how far a timestamp may be from now at most.
const maxTolerance = time.Hour

func tolerance(given jobs.Duration) (time.Duration, error) {
	span := time.Duration(given)
	if span == 0 {
		return webhook.Tolerance, nil
	}
	if span < time.Second || span > maxTolerance {
		return 0, fmt.Errorf("tolerance: must be 1s to %s", maxTolerance)
	}
	return span, nil
}

// standardEntry says how messages after the Standard Webhooks specification are proven.
type standardEntry struct {
	Secrets   []sign.Secret `json:"secrets"`
	Tolerance jobs.Duration `json:"tolerance"`
}

func (e *standardEntry) parse() (verifier, error) {
	secrets, err := webhook.ParseSecrets(e.Secrets...)
	if err != nil {
		err = fmt.Errorf("secrets: %w", err)
	}
	span, spanErr := tolerance(e.Tolerance)
	return standard{secrets, span}, errors.Join(err, spanErr)
}

type standard struct {
	secrets   *webhook.Secrets
	tolerance time.Duration
}

func (s standard) verify(h http.Header, body []byte, now time.Time) (proof, error) {
	id, _, err := s.secrets.Verify(h, body, now, s.tolerance)
	return proof{id: id}, err
}

// hmacEntry says how messages with a signature of another kind are proven: HMAC-SHA256 over
// the body, or over a text that holds it.
type hmacEntry struct {
	Secrets  []sign.Secret `json:"secrets"`
	Header   string        `json:"header"`
	Encoding string        `json:"encoding"`
	Prefix   string        `json:"prefix"`
	// Signs is what is signed, with {body} and {timestamp} in it.
	Signs     string        `json:"signs"`
	Timestamp string        `json:"timestamp"`
	Tolerance jobs.Duration `json:"tolerance"`
	ID        struct {
		Header  string  `json:"header"`
		Pointer *string `json:"pointer"`
	} `json:"id"`
}

// minSecret is how many bytes a secret must have.
const minSecret = 16

// maxID is how many bytes an id may have.
const maxID = 1024

const (
	markBody      = "{body}"
	markTimestamp = "{timestamp}"
)

// signed is a verifier of an [hmacEntry].
type signed struct {
	keys                []sign.Secret
	header, prefix      string
	decode              func(string) ([]byte, error)
	before, after       string // the body, of what is signed
	timestamp, idHeader string
	idAt                *place
	tolerance           time.Duration
}

func (e *hmacEntry) parse() (verifier, error) {
	var faults []error
	fault := func(field, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: "+format, append([]any{field}, args...)...))
	}
	v := signed{keys: e.Secrets, header: e.Header, prefix: e.Prefix, timestamp: e.Timestamp, idHeader: e.ID.Header}
	if len(e.Secrets) == 0 {
		fault("secrets", "missing")
	}
	for i, secret := range e.Secrets {
		if len(secret.Reveal()) < minSecret {
			fault("secrets", "secret %d of %d: shorter than %d bytes", i+1, len(e.Secrets), minSecret)
		}
	}
	for field, name := range map[string]string{"header": e.Header, "timestamp": e.Timestamp, "id.header": e.ID.Header} {
		switch {
		case name == "" && field == "header":
			fault(field, "missing")
		case strings.ContainsFunc(name, notInHeader):
			fault(field, "%q is no name of a header", name)
		}
	}
	var err error
	if v.decode, err = decoderOf(e.Encoding); err != nil {
		faults = append(faults, err)
	}
	if e.ID.Pointer != nil {
		if v.idAt, err = parsePlace(*e.ID.Pointer); err != nil {
			fault("id.pointer", "%w", err)
		}
		if e.ID.Header != "" {
			fault("id.pointer", "stands beside header; use one")
		}
	}
	if v.tolerance, err = tolerance(e.Tolerance); err != nil {
		faults = append(faults, err)
	}
	if e.Tolerance != 0 && e.Timestamp == "" {
		fault("tolerance", "stands without timestamp")
	}
	if v.before, v.after, err = e.signs(); err != nil {
		faults = append(faults, err)
	}
	return v, errors.Join(faults...)
}

func notInHeader(c rune) bool {
	return c <= ' ' || c > '~' || strings.ContainsRune("()<>@,;:\\\"/[]?={}", c)
}

func decoderOf(encoding string) (func(string) ([]byte, error), error) {
	switch encoding {
	case "", "hex":
		return hex.DecodeString, nil
	case "base64":
		return base64.StdEncoding.Strict().DecodeString, nil
	}
	return nil, fmt.Errorf("encoding: %q is neither hex nor base64", encoding)
}

// signs divides what is signed at the body. A timestamp that is not signed would prove
// nothing.
func (e *hmacEntry) signs() (before, after string, err error) {
	text := e.Signs
	switch {
	case text == "" && e.Timestamp != "":
		text = markTimestamp + "." + markBody
	case text == "":
		text = markBody
	}
	before, after, found := strings.Cut(text, markBody)
	switch times := strings.Count(text, markTimestamp); {
	case !found || strings.Contains(after, markBody):
		return "", "", errors.New("signs: want {body} in it, once")
	case e.Timestamp == "" && times > 0:
		return "", "", errors.New("signs: holds {timestamp}, but timestamp names no header")
	case e.Timestamp != "" && times != 1:
		return "", "", errors.New("signs: want {timestamp} in it, once: what is not signed proves nothing")
	case strings.Contains(text, markTimestamp+markBody), strings.Contains(text, markBody+markTimestamp):
		return "", "", errors.New("signs: want something between {timestamp} and {body}, such as a dot")
	}
	return before, after, nil
}

var (
	errSignature = errors.New("wrong signature")
	errTooOld    = errors.New("timestamp too old")
	errTooNew    = errors.New("timestamp too new")
)

func (s signed) verify(h http.Header, body []byte, now time.Time) (proof, error) {
	given, err := single(h, s.header)
	if err != nil {
		return proof{}, err
	}
	given, ok := strings.CutPrefix(given, s.prefix)
	if !ok {
		return proof{}, fmt.Errorf("%s: does not begin with %q", s.header, s.prefix)
	}
	mac, err := s.decode(given)
	if err != nil {
		return proof{}, fmt.Errorf("%s: not in the encoding that is agreed on", s.header)
	}
	timestamp, err := s.time(h, now)
	if err != nil {
		return proof{}, err
	}
	if !s.good(mac, timestamp, body) {
		return proof{}, errSignature
	}
	return s.proof(h, timestamp, body)
}

// time reads the timestamp, and checks that it is near.
func (s signed) time(h http.Header, now time.Time) (string, error) {
	if s.timestamp == "" {
		return "", nil
	}
	text, err := single(h, s.timestamp)
	if err != nil {
		return "", err
	}
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || number < 0 || strconv.FormatInt(number, 10) != text {
		return "", fmt.Errorf("%s: no whole number of seconds or milliseconds", s.timestamp)
	}
	at := time.Unix(number, 0)
	if len(text) >= 12 { // seconds reach that in thirty thousand years
		at = time.UnixMilli(number)
	}
	switch {
	case at.Before(now.Add(-s.tolerance)):
		return "", errTooOld
	case at.After(now.Add(s.tolerance)):
		return "", errTooNew
	}
	return text, nil
}

// good reports whether a signature was made with one of the secrets.
func (s signed) good(given []byte, timestamp string, body []byte) bool {
	good := false
	for _, key := range s.keys {
		mac := s.sum(hmac.New(sha256.New, []byte(key.Reveal())), timestamp, body)
		good = hmac.Equal(given, mac) || good
	}
	return good
}

// sum is the hash of what is signed.
func (s signed) sum(hash hash.Hash, timestamp string, body []byte) []byte {
	hash.Write([]byte(strings.ReplaceAll(s.before, markTimestamp, timestamp)))
	hash.Write(body)
	hash.Write([]byte(strings.ReplaceAll(s.after, markTimestamp, timestamp)))
	return hash.Sum(nil)
}

// proof finds the id. One in a header is not signed, and stands beside the digest of what
// is; without any the digest takes the id's place.
func (s signed) proof(h http.Header, timestamp string, body []byte) (proof, error) {
	if s.idAt != nil {
		return proof{idAt: s.idAt}, nil
	}
	digest := hex.EncodeToString(s.sum(sha256.New(), timestamp, body))
	if s.idHeader == "" {
		return proof{id: "sha256_" + digest}, nil
	}
	id, err := single(h, s.idHeader)
	if err == nil && !goodID(id) {
		err = fmt.Errorf("%s: want up to %d printable ASCII characters", s.idHeader, maxID)
	}
	return proof{id: id, signed: digest}, err
}

func goodID(id string) bool {
	return id != "" && len(id) <= maxID && !strings.ContainsFunc(id, func(c rune) bool { return c < ' ' || c > '~' })
}

func single(h http.Header, name string) (string, error) {
	values := h.Values(name)
	switch {
	case len(values) == 0 || len(values) == 1 && values[0] == "":
		return "", fmt.Errorf("%s: missing", name)
	case len(values) > 1:
		return "", fmt.Errorf("%s: there more than once", name)
	}
	return values[0], nil
}
