package sign

import (
	"crypto/md5" //nolint:gosec // the Beebot stream interface prescribes MD5
	"crypto/subtle"
	"encoding/hex"
)

// Stream returns the signature of a Beebot stream address: the lower-case hex MD5 of
// "streamSecret=<secret>&timestamp=<timestamp>". The timestamp must be the text that
// stands in the address; Unix milliseconds are usual. It follows the Beebot SSE stream
// interface, section "signing protocol".
func Stream(secret, timestamp string) string {
	sum := md5.Sum([]byte("streamSecret=" + secret + "&timestamp=" + timestamp)) //nolint:gosec // prescribed
	return hex.EncodeToString(sum[:])
}

// VerifyStream reports whether signature is the one that [Stream] gives, in constant time.
func VerifyStream(secret, timestamp, signature string) bool {
	return subtle.ConstantTimeCompare([]byte(Stream(secret, timestamp)), []byte(signature)) == 1
}
