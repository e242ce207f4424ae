package webhook

import (
	"crypto/hmac"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Tolerance is how far a message's timestamp may be from now, as a rule.
const Tolerance = 5 * time.Minute

// maxSeconds is the end of the year 9999.
const maxSeconds = 253_402_300_799

// Why a message is not good. Errors name the header, and repeat nothing of what it says.
var (
	ErrMissing   = errors.New("missing")
	ErrMalformed = errors.New("malformed")
	// ErrSignature means that no signature of the message was made with one of the secrets:
	// it was sent by someone else, or changed on its way.
	ErrSignature = errors.New("wrong signature")
	ErrTooOld    = errors.New("timestamp too old")
	ErrTooNew    = errors.New("timestamp too new")
)

// Verify returns the id and the timestamp of a message that was signed with one of the
// secrets, no more than tolerance before or after now. Errors: [ErrMissing] or
// [ErrMalformed] for the headers, of which each must be there once, [ErrTooOld],
// [ErrTooNew], [ErrSignature]. What is refused for its headers has cost no look at the body.
//
// Signatures are compared in constant time. An id has no dot in it, as the specification
// advises: see [ID].
func (s *Secrets) Verify(h http.Header, body []byte, now time.Time, tolerance time.Duration) (id string, at time.Time, err error) {
	var values [3]string
	for i, name := range []string{HeaderID, HeaderTimestamp, HeaderSignature} {
		if values[i], err = single(h, name); err != nil {
			return "", time.Time{}, err
		}
	}
	id, timestamp := values[0], values[1]
	if fault := idFault(id); fault != "" {
		return "", time.Time{}, fmt.Errorf("%w: %s: %s", ErrMalformed, HeaderID, fault)
	}
	if at, err = parseTime(timestamp, now, tolerance); err != nil {
		return "", time.Time{}, err
	}
	if !s.signed(values[2], id, timestamp, body) {
		return "", time.Time{}, ErrSignature
	}
	return id, at, nil
}

func single(h http.Header, name string) (string, error) {
	values := h.Values(name)
	switch {
	case len(values) == 0 || len(values) == 1 && values[0] == "":
		return "", fmt.Errorf("%w: %s", ErrMissing, name)
	case len(values) > 1:
		return "", fmt.Errorf("%w: %s: there more than once", ErrMalformed, name)
	}
	return values[0], nil
}

// parseTime takes a number as it is signed only: one that is written otherwise, such as
// +1674087231, would be another text with the same meaning.
func parseTime(timestamp string, now time.Time, tolerance time.Duration) (time.Time, error) {
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || seconds < 0 || seconds > maxSeconds || strconv.FormatInt(seconds, 10) != timestamp {
		return time.Time{}, fmt.Errorf("%w: %s: no whole number of seconds", ErrMalformed, HeaderTimestamp)
	}
	at := time.Unix(seconds, 0)
	switch {
	case at.Before(now.Add(-tolerance)):
		return at, ErrTooOld
	case at.After(now.Add(tolerance)):
		return at, ErrTooNew
	}
	return at, nil
}

func (s *Secrets) signed(list, id, timestamp string, body []byte) bool {
	for _, key := range s.keys {
		want := signature(key, id, timestamp, body)
		for given := range strings.SplitSeq(list, " ") {
			given, ok := strings.CutPrefix(given, version)
			if ok && hmac.Equal([]byte(given), want) {
				return true
			}
		}
	}
	return false
}
