package sign

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
)

// streamPath is where a Beebot stream address carries its credentials:
// /sse/paas4Json/{AccessToken}/{ChannelId}/{Sign}/{Timestamp}.
const streamPath = "/sse/paas4Json/"

// secretParameters are the query parameters that the signature schemes of Alibaba Cloud
// and object stores put credentials in. Compared in lower case.
var secretParameters = map[string]bool{
	"accesskeyid": true, "signature": true, "securitytoken": true, "security-token": true, "signaturenonce": true,
	"x-amz-signature": true, "x-amz-credential": true, "x-amz-security-token": true,
	"x-oss-signature": true, "x-oss-credential": true, "x-oss-security-token": true,
	"ossaccesskeyid": true, "awsaccesskeyid": true,
	"access_token": true, "accesstoken": true, "api_key": true, "apikey": true, "key": true, "token": true, "secret": true, "password": true,
}

var (
	addresses = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>]+`)
	paths     = regexp.MustCompile(`/sse/paas4Json/[^\s"'<>?]+`)
	queries   = regexp.MustCompile(`(?i)\b(Signature|SignatureNonce|AccessKeyId|SecurityToken|streamSecret)=[^&\s"'<>]+`)
	encoded   = regexp.MustCompile(`(?i)\b(Signature|SignatureNonce|AccessKeyId|SecurityToken)%3D[^%\s"'<>]+(%25[0-9A-F]{2}[^%\s"'<>]*)*`)
	bearer    = regexp.MustCompile(`(?i)\bBearer\s+[^\s"',;]+`)
)

// RedactURL returns the address without what gives access: user information, signing
// parameters, and the credentials in the path of a Beebot stream address. An address that
// cannot be parsed comes back as [Redacted] whole.
func RedactURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return Redacted
	}
	if u.User != nil {
		u.User = url.User(Redacted)
	}
	if i := strings.Index(u.Path, streamPath); i >= 0 {
		u.Path, u.RawPath = u.Path[:i+len(streamPath)]+Redacted, ""
	}
	if u.RawQuery != "" {
		u.RawQuery = redactQuery(u.RawQuery)
	}
	// Brackets need no escaping for a reader of logs.
	return strings.NewReplacer("%5B", "[", "%5D", "]").Replace(u.String())
}

func redactQuery(query string) string {
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		name, _, found := strings.Cut(pair, "=")
		decoded, err := url.QueryUnescape(name)
		if err != nil {
			decoded = name
		}
		if found && secretParameters[strings.ToLower(decoded)] {
			pairs[i] = name + "=" + Redacted
		}
	}
	return strings.Join(pairs, "&")
}

// Redact returns the text with every address in it treated as by [RedactURL], and bearer
// tokens, signing parameters and stream paths outside of addresses blotted out.
func Redact(text string) string {
	text = addresses.ReplaceAllStringFunc(text, RedactURL)
	text = paths.ReplaceAllString(text, streamPath+Redacted)
	text = queries.ReplaceAllString(text, "${1}="+Redacted)
	text = encoded.ReplaceAllString(text, "${1}%3D"+Redacted)
	return bearer.ReplaceAllString(text, "Bearer "+Redacted)
}

// RedactError returns an error whose text has gone through [Redact] and which unwraps to
// err; nil stays nil. Print the result, never what it wraps.
func RedactError(err error) error {
	if err == nil {
		return nil
	}
	var done *redactedError
	if errors.As(err, &done) && err == error(done) { //nolint:errorlint // only the outermost error counts
		return err
	}
	return &redactedError{err: err}
}

type redactedError struct{ err error }

func (e *redactedError) Error() string { return Redact(e.err.Error()) }
func (e *redactedError) Unwrap() error { return e.err }
