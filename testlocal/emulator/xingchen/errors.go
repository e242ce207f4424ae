package xingchen

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// refusal is an error as the service answers it: one row of the vendor's error table, the message completed.
type refusal struct {
	status  int
	code    int
	name    string
	message string
	key     string
	gateway bool
}

func (e *refusal) Error() string { return fmt.Sprintf("%s: %s", e.key, e.message) }

// naming returns the refusal with what is wrong behind its message.
func (e *refusal) naming(format string, args ...any) *refusal {
	named := *e
	named.message = e.name + ": " + fmt.Sprintf(format, args...)
	return &named
}

func row(code int, name, key string) *refusal {
	return &refusal{status: http.StatusBadRequest, code: code, name: name, message: name, key: key}
}

// The vendor's error table. The HTTP status is 400 all through.
var (
	errRequest    = row(400, "Invalid Request", "aca.error.invalid.request")
	errParam      = row(400, "Invalid Param", "aca.error.invalid.param")
	errMethod     = row(400, "Invalid Request Method", "aca.error.invalid.request.method")
	errUnreadable = row(400, "Request Params Unreadable", "aca.error.invalid.request.params.unreadable")
	errToken      = row(400, "Invalid Token", "aca.error.invalid.token")
	errDuplicate  = row(401, "Data Duplicate", "aca.error.data.duplicate")
	errPermission = row(403, "No Permission", "aca.error.no.permission")
	errNotFound   = row(404, "Not Found", "aca.error.notfound")
	errVersion    = row(411, "No Permission to manage character version", "aca.error.no.permission.mgmt.version")
	errInspection = row(400, "DataInspectionFailed", "aca.error.data.inspection")
)

// errRoute is the gateway's answer to a request that no service takes.
var errRoute = &refusal{
	status: http.StatusBadRequest, code: 400, name: "Invalid Request", message: "Invalid Request",
	key: "aca.error.invalid.request", gateway: true,
}

// refused turns any error into a refusal; what is none becomes the service's 500.
func (s *Server) refused(err error) *refusal {
	if e, ok := errors.AsType[*refusal](err); ok {
		return e
	}
	return &refusal{
		status: http.StatusInternalServerError, code: 500, name: "System Error", message: "System Error",
		key: s.cfg.Assume.SystemKey,
	}
}

func (s *Server) errParallel() *refusal {
	return &refusal{
		status: s.cfg.Assume.ParallelStatus, code: http.StatusTooManyRequests, name: "Parallel Chat",
		message: "Parallel Chat: the user has a conversation that has not ended", key: s.cfg.Assume.ParallelKey,
	}
}

func (s *Server) errThrottled() *refusal {
	return &refusal{
		status: http.StatusTooManyRequests, code: http.StatusTooManyRequests, name: "Throttling",
		message: "Throttling: too many requests", key: s.cfg.Assume.ThrottleKey,
	}
}

// errWording is what becomes of a replier's error.
func (s *Server) errWording(c *call, err error) error {
	var busy interface{ Throttled() bool }
	if errors.As(err, &busy) && busy.Throttled() {
		c.w.Header().Set("Retry-After", "1")
		return s.errThrottled()
	}
	return fmt.Errorf("word the reply: %w", err)
}

// planned is the refusal that a fault asks for.
func (s *Server) planned(status int) *refusal {
	if status == http.StatusTooManyRequests {
		return s.errThrottled()
	}
	return &refusal{
		status: status, code: status, name: http.StatusText(status), message: http.StatusText(status),
		key: s.cfg.Assume.SystemKey,
	}
}

// wireError has the fields of the service and of the gateway; which are sent is an assumption.
type wireError struct {
	RequestID       string `json:"requestId"`
	Success         bool   `json:"success"`
	Code            int    `json:"code,omitempty"`
	ErrorCode       int    `json:"errorCode,omitempty"`
	ErrorName       string `json:"errorName,omitempty"`
	ErrorMessage    string `json:"errorMessage"`
	ErrorMessageKey string `json:"errorMessageKey,omitempty"`
	HTTPStatusCode  int    `json:"httpStatusCode,omitempty"`
}

func (s *Server) statusOf(e *refusal) int {
	if s.cfg.Assume.StatusFollowsCode && e.code > 400 && e.code < 415 {
		return e.code
	}
	return e.status
}

func (s *Server) errorBody(e *refusal, requestID string) []byte {
	wire := wireError{RequestID: requestID, ErrorMessage: e.message}
	if s.cfg.Assume.ErrorDialect != "gateway" {
		wire.Code, wire.ErrorMessageKey = e.code, e.key
	}
	if s.cfg.Assume.ErrorDialect != "service" || e.gateway {
		wire.ErrorCode, wire.ErrorName, wire.HTTPStatusCode = e.code, e.name, s.statusOf(e)
	}
	body, err := json.Marshal(wire)
	if err != nil {
		return []byte(`{"success":false,"code":500}`)
	}
	return body
}
