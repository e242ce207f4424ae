package sinktest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// ossSigned checks a request's signature of version 4, as the document "Include a V4
// signature in the Authorization header" of OSS defines it. The body is not part of it.
func ossSigned(r *http.Request) *ossRefusal {
	fields, ok := strings.CutPrefix(r.Header.Get("Authorization"), "OSS4-HMAC-SHA256 ")
	if !ok || r.Header.Get("X-Oss-Content-Sha256") != "UNSIGNED-PAYLOAD" {
		return &ossRefusal{http.StatusForbidden, "AccessDenied", "You are not authorized."}
	}
	given := map[string]string{}
	for field := range strings.SplitSeq(fields, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		given[name] = value
	}
	key, scope, _ := strings.Cut(given["Credential"], "/")
	if key != AccessKey {
		return &ossRefusal{http.StatusForbidden, "InvalidAccessKeyId", "The OSS Access Key Id you provided does not exist in our records."}
	}
	at := r.Header.Get("X-Oss-Date")
	day, _, _ := strings.Cut(at, "T")
	request := canonical(r, given["AdditionalHeaders"])
	digest := sha256.Sum256([]byte(request))
	signed := []byte("aliyun_v4" + SecretKey)
	for _, text := range []string{
		day, OSSRegion, "oss", "aliyun_v4_request",
		strings.Join([]string{"OSS4-HMAC-SHA256", at, scope, hex.EncodeToString(digest[:])}, "\n"),
	} {
		mac := hmac.New(sha256.New, signed)
		mac.Write([]byte(text))
		signed = mac.Sum(nil)
	}
	if scope != day+"/"+OSSRegion+"/oss/aliyun_v4_request" || !hmac.Equal([]byte(given["Signature"]), []byte(hex.EncodeToString(signed))) {
		return &ossRefusal{http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided."}
	}
	return nil
}

// canonical is what is signed of a request. Requests have the bucket in their path.
func canonical(r *http.Request, additional string) string {
	var query []string
	for name, values := range r.URL.Query() {
		pair := percent(name)
		if values[0] != "" {
			pair += "=" + percent(values[0])
		}
		query = append(query, pair)
	}
	slices.Sort(query)
	var headers []string
	extra := strings.Split(additional, ";")
	for name, values := range r.Header {
		name = strings.ToLower(name)
		if strings.HasPrefix(name, "x-oss-") || name == "content-type" || name == "content-md5" || slices.Contains(extra, name) {
			headers = append(headers, fmt.Sprintf("%s:%s\n", name, strings.TrimSpace(strings.Join(values, ","))))
		}
	}
	slices.Sort(headers)
	path := strings.ReplaceAll(percent(r.URL.Path), "%2F", "/")
	return strings.Join([]string{r.Method, path, strings.Join(query, "&"), strings.Join(headers, ""), additional, "UNSIGNED-PAYLOAD"}, "\n")
}

// percent encodes all but letters, digits and -._~.
func percent(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }
