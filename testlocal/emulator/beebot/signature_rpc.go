package beebot

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the RPC signature prescribes HMAC-SHA1
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// verifyRPC checks a call signed by parameters (HMAC-SHA1, signature version 1.0).
func (s *Server) verifyRPC(c *call) *refusal {
	c.action, c.version = c.param("Action"), c.param("Version")
	c.keyID, c.token = c.param("AccessKeyId"), c.param("SecurityToken")
	c.nonce, c.date = c.param("SignatureNonce"), c.param("Timestamp")
	for _, name := range []string{
		"Action", "Version", "AccessKeyId", "SignatureMethod", "SignatureVersion", "SignatureNonce", "Timestamp", "Signature",
	} {
		if c.param(name) == "" {
			return missing(name)
		}
	}
	if no := c.checkAPI(); no != nil {
		return no
	}
	if c.param("SignatureMethod") != "HMAC-SHA1" || c.param("SignatureType") != "" {
		return refuse(http.StatusBadRequest, "InvalidSignatureMethod", "Specified signature method is not valid.")
	}
	stringToSign := rpcStringToSign(c.r.Method, c.params)
	if c.param("SignatureVersion") != "1.0" {
		return incomplete(stringToSign)
	}
	if no := s.checkCaller(c); no != nil {
		return no
	}
	want := rpcSignature(c.account.AccessKeySecret.Reveal(), stringToSign)
	if !hmac.Equal([]byte(want), []byte(c.param("Signature"))) {
		return unmatched(stringToSign)
	}
	return s.admit(c)
}

// rpcStringToSign follows the signature page of the RPC style: method, path and the sorted
// parameters without Signature, percent-encoded twice.
func rpcStringToSign(method string, params map[string]string) string {
	return method + "&%2F&" + percentEncode(canonicalQuery(params, "Signature"))
}

func rpcSignature(secret, stringToSign string) string {
	mac := hmac.New(sha1.New, []byte(secret+"&"))
	mac.Write([]byte(stringToSign))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// canonicalQuery joins the parameters but one in the order of their names.
func canonicalQuery(params map[string]string, without string) string {
	names := make([]string, 0, len(params))
	for name := range params {
		if name != without {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var out strings.Builder
	for i, name := range names {
		if i > 0 {
			out.WriteByte('&')
		}
		out.WriteString(percentEncode(name))
		out.WriteByte('=')
		out.WriteString(percentEncode(params[name]))
	}
	return out.String()
}

// percentEncode escapes all but the unreserved characters of RFC 3986, in upper-case hex.
func percentEncode(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}
