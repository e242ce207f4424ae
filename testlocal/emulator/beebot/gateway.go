package beebot

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"xinghe/testlocal/emulator/fault"
)

const (
	actionApply = "ApplyForStreamAccessToken"
	actionChat  = "Chat"

	timestampLayout = "2006-01-02T15:04:05Z"
	jsonType        = "application/json;charset=utf-8"

	maxRPCBody = 1 << 20
)

// actions are the calls that there are.
var actions = map[string]func(*Server, *call) (any, *refusal){
	actionApply: (*Server).applyForStreamAccessToken, actionChat: (*Server).chat,
	"BeginSession": (*Server).beginSession, "Feedback": (*Server).feedback, "CancelChat": (*Server).cancelChat,
	"ListTongyiChatHistorys": (*Server).listHistories, "ListTongyiConversationLogs": (*Server).listConversation,
}

// call is one RPC call: what was received, and whose it is once it has been verified.
type call struct {
	r      *http.Request
	body   []byte
	params map[string]string // query and form; the query wins
	query  map[string]string // query alone

	action, version string
	keyID, token    string
	nonce, date     string

	account  Account
	identity identity
	plan     *fault.Plan
	now      time.Time
	record   *Record
}

func (c *call) param(name string) string { return c.params[name] }

func (s *Server) serveRPC(w http.ResponseWriter, r *http.Request) {
	ctx, now := r.Context(), s.cfg.Now()
	record := Record{Time: now, Method: r.Method, Path: r.URL.Path, Status: http.StatusOK}
	defer func() { s.cfg.Record(record) }()

	c, no := readCall(w, r)
	c.now, c.record, c.identity = now, &record, s.nextIdentity()
	if no == nil {
		no = s.verify(c)
	}
	record.Action, record.AccountID, record.AgentKey = c.action, c.account.AccessKeyID, c.param("AgentKey")
	record.RequestID, record.Instance = c.identity.requestID(), c.param("InstanceId")

	c.plan = s.cfg.Faults.Match(ctx, fault.Request{Route: "/" + c.action, Key: c.keyID, User: c.param("SenderId")})
	if !c.plan.Begin(w, r) {
		record.Status = 0
		return
	}
	if planned, ok := c.plan.Refusal(); ok {
		planned.SetHeader(w)
		no = plannedRefusal(planned)
	}
	if no != nil {
		s.refuseCall(ctx, w, c, no)
		return
	}
	s.perform(ctx, w, c)
}

func (s *Server) perform(ctx context.Context, w http.ResponseWriter, c *call) {
	answer, no := actions[c.action](s, c)
	if no != nil {
		s.refuseCall(ctx, w, c, no)
		return
	}
	s.respond(ctx, w, c, http.StatusOK, answer)
}

// gatewayError is the error document of the RPC gateway.
type gatewayError struct {
	RequestID string `json:"RequestId"`
	HostID    string `json:"HostId"`
	Code      string `json:"Code"`
	Message   string `json:"Message"`
	Recommend string `json:"Recommend"`
}

func (s *Server) refuseCall(ctx context.Context, w http.ResponseWriter, c *call, no *refusal) {
	c.record.Code = no.code
	if no.timeLeft > 0 {
		w.Header().Set("x-ratelimit-user", "TimeLeft:"+strconv.FormatInt(no.timeLeft, 10))
	}
	query := url.Values{"q": {no.code}, "product": {"Chatbot"}}
	s.respond(ctx, w, c, no.status, gatewayError{
		RequestID: c.record.RequestID, HostID: c.r.Host, Code: no.code, Message: no.message,
		Recommend: "https://api.aliyun.com/troubleshoot?" + query.Encode(),
	})
}

func (s *Server) respond(ctx context.Context, w http.ResponseWriter, c *call, status int, answer any) {
	c.record.Status = status
	w.Header().Set("x-acs-request-id", c.record.RequestID)
	_ = c.plan.Respond(ctx, w, status, jsonType, marshal(answer))
}

// plannedRefusal puts a refusal that a fault asks for into the words of the gateway.
func plannedRefusal(planned fault.Refusal) *refusal {
	no := refuse(planned.Status, codeUnavailable, "The request has failed due to a temporary failure of the server.")
	switch planned.Status {
	case http.StatusTooManyRequests:
		no = throttled(planned.RetryAfter.Milliseconds())
		no.status = planned.Status
	case http.StatusInternalServerError:
		no.code, no.message = codeInternalError, "The request processing has failed due to some unknown error."
	}
	return no
}

// readCall takes the parameters from query and form and recognises the signature scheme.
func readCall(w http.ResponseWriter, r *http.Request) (*call, *refusal) {
	c := &call{r: r}
	query, err := url.ParseQuery(r.URL.RawQuery)
	c.query = first(query)
	c.params = first(query)
	if err != nil {
		return c, invalid("query", "It cannot be decoded.")
	}
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return c, refuse(http.StatusBadRequest, "UnsupportedHTTPMethod", "This http method is not supported.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRPCBody))
	if err != nil {
		return c, invalid("body", "It is longer than 1 MiB or was cut off.")
	}
	c.body = body
	if no := c.readForm(); no != nil {
		return c, no
	}
	for name, value := range c.params {
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return c, invalid(strconv.QuoteToASCII(name), "It is not UTF-8.")
		}
	}
	return c, nil
}

func (c *call) readForm() *refusal {
	kind, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if kind != "application/x-www-form-urlencoded" || len(c.body) == 0 {
		return nil
	}
	form, err := url.ParseQuery(string(c.body))
	if err != nil {
		return invalid("body", "It cannot be decoded.")
	}
	for name, value := range first(form) {
		if _, taken := c.params[name]; !taken {
			c.params[name] = value
		}
	}
	return nil
}

func first(values url.Values) map[string]string {
	out := make(map[string]string, len(values))
	for name, list := range values {
		out[name] = list[0]
	}
	return out
}

// verify settles who calls what: scheme, common parameters, key, clock, signature, nonce.
func (s *Server) verify(c *call) *refusal {
	if strings.HasPrefix(c.r.Header.Get("Authorization"), "ACS3-") || c.r.Header.Get("x-acs-content-sha256") != "" {
		return s.verifyACS3(c)
	}
	return s.verifyRPC(c)
}

func missing(name string) *refusal {
	return refuse(http.StatusBadRequest, "Missing"+name, name+" is mandatory for this action.")
}

func (c *call) checkAPI() *refusal {
	if c.version != Version {
		return refuse(http.StatusBadRequest, "400", "Specified parameter Version is not valid.")
	}
	if actions[c.action] == nil {
		return refuse(http.StatusNotFound, "InvalidApi.NotFound", "Specified api is not found, please check your url and method.")
	}
	switch format := c.param("Format"); strings.ToLower(format) {
	case "", "json", "xml":
		return nil
	default:
		return refuse(http.StatusBadRequest, "InvalidParameter.Format", "Specified parameter format is not valid.")
	}
}

// checkCaller looks the key up and compares clock and security token.
func (s *Server) checkCaller(c *call) *refusal {
	account, known := s.accounts[c.keyID]
	if !known {
		return refuse(http.StatusNotFound, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
	}
	c.account = account
	if account.Inactive {
		return refuse(http.StatusBadRequest, "InvalidAccessKeyId.Inactive", "Specified access key is disabled.")
	}
	at, err := time.Parse(timestampLayout, c.date)
	if err != nil {
		return refuse(http.StatusBadRequest, "InvalidTimeStamp.Format",
			"Specified time stamp or date value is not well formatted.")
	}
	if off := c.now.Sub(at); off.Abs() > s.cfg.Assume.TimestampWindow {
		return refuse(http.StatusBadRequest, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
	}
	return checkSecurityToken(account, c.token, c.now)
}

func checkSecurityToken(account Account, token string, now time.Time) *refusal {
	switch {
	case account.SecurityToken.IsZero() && token == "":
		return nil
	case token == "":
		return missing("SecurityToken")
	case !account.SecurityToken.Equal(token):
		return refuse(http.StatusBadRequest, "InvalidSecurityToken.MismatchWithAccessKey",
			"Specified SecurityToken mismatch with the AccessKey.")
	case !account.Expires.IsZero() && !now.Before(account.Expires):
		return refuse(http.StatusBadRequest, "InvalidSecurityToken.Expired", "Specified SecurityToken is expired.")
	}
	return nil
}

// unmatched is the refusal of a wrong signature. Nothing may follow the string to sign: an SDK
// compares all that stands behind the colon with its own.
func unmatched(stringToSign string) *refusal {
	return refuse(http.StatusBadRequest, "SignatureDoesNotMatch",
		"Specified signature is not matched with our calculation. server string to sign is:"+stringToSign)
}

func incomplete(stringToSign string) *refusal {
	return refuse(http.StatusBadRequest, "IncompleteSignature",
		"The request signature does not conform to Aliyun standards. server string to sign is:"+stringToSign)
}

// admit remembers the nonce of a call whose signature was right, and counts it.
func (s *Server) admit(c *call) *refusal {
	if c.nonce != "" && !s.nonces.admit(c.keyID, c.nonce, c.now) {
		return refuse(http.StatusBadRequest, "SignatureNonceUsed", "Specified signature nonce was used already.")
	}
	if left := s.rates.admit(c.keyID, c.now); left > 0 {
		return throttled(left.Milliseconds() + 1)
	}
	return nil
}

// space resolves the business space that a call names.
func (s *Server) space(agentKey string) (string, *refusal) {
	if agentKey == "" {
		return s.cfg.AgentKey, nil
	}
	if !s.spaces[agentKey] {
		return "", s.forbidden("The AgentKey names no business space of this account.")
	}
	return agentKey, nil
}

// marshal encodes without escaping <, > and &, as the service does.
func marshal(value any) []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic("beebot emulator: encode answer: " + err.Error())
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}
