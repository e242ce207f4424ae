package beebot

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
)

const acs3Algorithm = "ACS3-HMAC-SHA256"

// acs3Required must be sent and signed; which other headers are signed differs between SDKs.
var acs3Required = []struct{ header, parameter string }{
	{"x-acs-action", "Action"},
	{"x-acs-version", "Version"},
	{"x-acs-date", "Timestamp"},
	{"x-acs-content-sha256", "ContentSha256"},
}

// verifyACS3 checks a call signed by headers.
func (s *Server) verifyACS3(c *call) *refusal {
	header := c.r.Header
	c.action, c.version = header.Get("x-acs-action"), header.Get("x-acs-version")
	c.nonce, c.date = header.Get("x-acs-signature-nonce"), header.Get("x-acs-date")
	c.token = header.Get("x-acs-security-token")
	authorization := parseACS3(header.Get("Authorization"))
	c.keyID = authorization.keyID
	for _, required := range acs3Required {
		if header.Get(required.header) == "" {
			return missing(required.parameter)
		}
	}
	switch {
	case authorization.keyID == "":
		return missing("AccessKeyId")
	case authorization.signature == "":
		return missing("Signature")
	}
	if no := c.checkAPI(); no != nil {
		return no
	}
	stringToSign := acs3StringToSign(acs3CanonicalRequest(c, authorization.signed))
	if !signsRequired(authorization.signed) {
		return incomplete(stringToSign)
	}
	if no := s.checkCaller(c); no != nil {
		return no
	}
	sum := sha256.Sum256(c.body)
	want := acs3Signature(c.account.AccessKeySecret.Reveal(), stringToSign)
	if header.Get("x-acs-content-sha256") != hex.EncodeToString(sum[:]) || !hmac.Equal([]byte(want), []byte(authorization.signature)) {
		return unmatched(stringToSign)
	}
	return s.admit(c)
}

func signsRequired(signed []string) bool {
	for _, required := range acs3Required {
		if !slices.Contains(signed, required.header) {
			return false
		}
	}
	return slices.Contains(signed, "host")
}

type acs3Authorization struct {
	keyID, signature string
	signed           []string
}

// parseACS3 reads "ACS3-HMAC-SHA256 Credential=…,SignedHeaders=…,Signature=…". What is not
// there stays empty.
func parseACS3(text string) acs3Authorization {
	var out acs3Authorization
	fields, found := strings.CutPrefix(text, acs3Algorithm+" ")
	if !found {
		return out
	}
	for field := range strings.SplitSeq(fields, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch name {
		case "Credential":
			out.keyID = value
		case "SignedHeaders":
			out.signed = strings.Split(value, ";")
		case "Signature":
			out.signature = value
		}
	}
	return out
}

// acs3CanonicalRequest follows the signature page of version 3. The headers are those that the
// caller names, whichever these are.
func acs3CanonicalRequest(c *call, signed []string) string {
	path := c.r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	var out strings.Builder
	out.WriteString(c.r.Method + "\n" + path + "\n" + canonicalQuery(c.query, "") + "\n")
	for _, name := range slices.Sorted(slices.Values(signed)) {
		out.WriteString(name + ":" + headerValue(c.r, name) + "\n")
	}
	out.WriteString("\n" + strings.Join(signed, ";") + "\n")
	sum := sha256.Sum256(c.body)
	out.WriteString(hex.EncodeToString(sum[:]))
	return out.String()
}

func headerValue(r *http.Request, name string) string {
	if name == "host" {
		return r.Host
	}
	return strings.TrimSpace(strings.Join(r.Header.Values(name), ","))
}

func acs3StringToSign(canonicalRequest string) string {
	sum := sha256.Sum256([]byte(canonicalRequest))
	return acs3Algorithm + "\n" + hex.EncodeToString(sum[:])
}

func acs3Signature(secret, stringToSign string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(stringToSign))
	return hex.EncodeToString(mac.Sum(nil))
}
