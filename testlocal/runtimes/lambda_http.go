package runtimes

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
)

// lambdaLimit is the most that a request, and an answer in one piece, may have as JSON.
const lambdaLimit = 6 << 20

// preludeType is the type of answers that begin with their status and headers.
const preludeType = "application/vnd.awslambda.http-integration-response"

// ServeHTTP is the Function URL, or the HTTP API: the request becomes an event.
func (l *awsLambda) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, lambdaLimit+1))
	if err != nil {
		return // the caller has left
	}
	id := uuid.NewString()
	event, err := json.Marshal(l.requestEvent(r, body, id, time.Now()))
	if err != nil || len(event) > lambdaLimit {
		http.Error(w, `{"message":"Request Entity Too Large"}`, http.StatusRequestEntityTooLarge)
		return
	}
	if l.url {
		l.stream(r.Context(), w, id, event)
		return
	}
	result, _ := l.invoke(r.Context(), Event{Payload: event, Attempt: 1}) // the error says that the caller has left
	switch {
	case result.ErrorType == "" && len(result.Payload) <= lambdaLimit:
		answerHTTP(w, result.Payload)
	case result.ErrorType == ErrorTimeout:
		http.Error(w, `{"message":"Service Unavailable"}`, http.StatusServiceUnavailable)
	default:
		http.Error(w, `{"message":"Internal Server Error"}`, http.StatusInternalServerError)
	}
}

// stream answers while the answer comes.
func (l *awsLambda) stream(ctx context.Context, w http.ResponseWriter, id string, event []byte) {
	begun, failure := false, ""
	word := l.do(ctx, l.invocation(id, event), func(a *answer) (err error) {
		if a.failed {
			payload, err := io.ReadAll(a.request.Body)
			failure = l.errorType(a, payload)
			return err
		}
		body := bufio.NewReader(a.request.Body)
		head := &bufferedAnswer{StatusCode: http.StatusOK, Headers: map[string]string{"Content-Type": "application/octet-stream"}}
		if a.request.Header.Get("Content-Type") == preludeType {
			if head, err = readPrelude(body); err != nil {
				return errors.Join(err, drain(a))
			}
		}
		begun = true
		head.head(w)
		if err := pour(w, body); err != nil {
			return err
		}
		failure = l.errorType(a, nil)
		return nil
	})
	if word != "" {
		failure = word
	}
	l.cfg.Report(Report{ID: id, ErrorType: failure})
	switch {
	case word != "" && begun:
		panic(http.ErrAbortHandler) // the program is gone, and with it the rest
	case failure != "" && !begun:
		http.Error(w, "Internal Server Error", http.StatusBadGateway)
	}
}

// readPrelude reads status and headers up to the eight zero bytes behind them.
func readPrelude(body *bufio.Reader) (*bufferedAnswer, error) {
	text, err := body.ReadBytes(0)
	if err != nil {
		return nil, fmt.Errorf("the prelude of the answer does not end: %w", err)
	}
	var rest [7]byte
	if _, err := io.ReadFull(body, rest[:]); err != nil || rest != [7]byte{} {
		return nil, errors.New("the prelude of the answer does not end with eight zero bytes")
	}
	var head bufferedAnswer
	if err := json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &head); err != nil || head.StatusCode == 0 {
		return nil, fmt.Errorf("the prelude of the answer is no status with headers: %q: %w", text, err)
	}
	return &head, nil
}

// requestEvent is a request in version 2.0 of the format, which both fronts use.
type requestEvent struct {
	Version         string            `json:"version"`
	RouteKey        string            `json:"routeKey"`
	RawPath         string            `json:"rawPath"`
	RawQueryString  string            `json:"rawQueryString"`
	Cookies         []string          `json:"cookies,omitempty"`
	Headers         map[string]string `json:"headers"`
	Query           map[string]string `json:"queryStringParameters,omitempty"`
	RequestContext  requestContext    `json:"requestContext"`
	Body            string            `json:"body,omitempty"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`
}

type requestContext struct {
	AccountID    string      `json:"accountId"`
	APIID        string      `json:"apiId"`
	DomainName   string      `json:"domainName"`
	DomainPrefix string      `json:"domainPrefix"`
	HTTP         httpContext `json:"http"`
	RequestID    string      `json:"requestId"`
	RouteKey     string      `json:"routeKey"`
	Stage        string      `json:"stage"`
	Time         string      `json:"time"`
	TimeEpoch    int64       `json:"timeEpoch"`
}

func (l *awsLambda) requestEvent(r *http.Request, body []byte, id string, now time.Time) requestEvent {
	domain := "local.execute-api." + awsRegion + ".amazonaws.com"
	if l.url {
		domain = "local.lambda-url." + awsRegion + ".on.aws"
	}
	headers := map[string]string{}
	for name, values := range r.Header {
		headers[strings.ToLower(name)] = joined(values)
	}
	headers["host"] = domain
	peer := contextOf(r)
	headers["x-forwarded-for"], headers["x-forwarded-proto"], headers["x-forwarded-port"] = peer.SourceIP, "https", "443"
	var cookies []string
	for _, line := range r.Header.Values("Cookie") {
		for cookie := range strings.SplitSeq(line, ";") {
			cookies = append(cookies, strings.TrimSpace(cookie))
		}
	}
	if l.url { // which hands them over twice
		headers["cookie"] = strings.Join(cookies, "; ")
	}
	if !l.url || len(cookies) == 0 {
		delete(headers, "cookie")
	}
	query := map[string]string{}
	for name, values := range r.URL.Query() {
		query[name] = joined(values)
	}
	text, encoded := asText(r, body)
	return requestEvent{
		Version: "2.0", RouteKey: "$default", RawPath: r.URL.EscapedPath(), RawQueryString: r.URL.RawQuery, Cookies: cookies,
		Headers: headers, Query: query, Body: text, IsBase64Encoded: encoded,
		RequestContext: requestContext{
			AccountID: awsAccount, APIID: "local", DomainName: domain, DomainPrefix: "local", HTTP: peer, RequestID: id,
			RouteKey: "$default", Stage: "$default", Time: now.UTC().Format("02/Jan/2006:15:04:05 -0700"), TimeEpoch: now.UnixMilli(),
		},
	}
}
