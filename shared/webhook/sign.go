package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"xinghe/shared/sign"
)

// The headers of a message.
const (
	HeaderID        = "Webhook-Id"        // the same for each attempt
	HeaderTimestamp = "Webhook-Timestamp" // of the attempt, in seconds of the Unix clock
	HeaderSignature = "Webhook-Signature" // one or more, separated by spaces
)

const (
	version = "v1,"
	// maxID is how many bytes an id may have.
	maxID = 1024
)

// Sign sets the three headers of an attempt at time at, which counts in whole seconds: one
// signature for each secret, in their order. An id that is empty, longer than 1 KiB or has
// anything but printable ASCII in it, or a dot, is refused with [ErrMalformed], and so is a
// time before 1970; see [ID].
func (s *Secrets) Sign(h http.Header, id string, at time.Time, body []byte) error {
	if fault := idFault(id); fault != "" {
		return fmt.Errorf("%w: %s: %s", ErrMalformed, HeaderID, fault)
	}
	if at.Unix() < 0 {
		return fmt.Errorf("%w: %s: before 1970", ErrMalformed, HeaderTimestamp)
	}
	timestamp := strconv.FormatInt(at.Unix(), 10)
	var list strings.Builder
	for i, key := range s.keys {
		if i > 0 {
			list.WriteByte(' ')
		}
		list.WriteString(version)
		list.Write(signature(key, id, timestamp, body))
	}
	h.Set(HeaderID, id)
	h.Set(HeaderTimestamp, timestamp)
	h.Set(HeaderSignature, list.String())
	return nil
}

// ID makes the id of a message from that of what it tells of. Letters, digits, - and _ stand
// for themselves, a dot becomes ~, and all else = and two hex digits a byte: so different
// ids stay different. The signature has dots between its parts, and with one in the id two
// messages could be signed alike.
func ID(of string) string {
	var id strings.Builder
	for i := range len(of) {
		switch c := of[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			id.WriteByte(c)
		case c == '.':
			id.WriteByte('~')
		default:
			fmt.Fprintf(&id, "=%02x", c)
		}
	}
	return id.String()
}

// signature is the Base64 of the HMAC-SHA256 of "id.timestamp.body".
func signature(key sign.Secret, id, timestamp string, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return base64.StdEncoding.AppendEncode(nil, mac.Sum(nil))
}

func idFault(id string) string {
	switch {
	case id == "":
		return "empty"
	case len(id) > maxID:
		return fmt.Sprintf("longer than %d bytes", maxID)
	case strings.Contains(id, "."):
		return "a dot in it"
	case strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "not printable ASCII"
	}
	return ""
}
