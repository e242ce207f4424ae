package beebot

import "net/http"

// Codes of the product, from the error table of the Beebot conversation API page and the
// error codes of version 2022-04-08.
const (
	codeUnknownBot       = "InvalidInstanceId.NotFound"
	codeInvalidParameter = "InvalidParameter"
	codeInternalError    = "InternalError"
	codeFrozen           = "InstanceFreezing"
	codeForbidden        = "Forbidden"
	codeThrottled        = "Throttling.User"
	codeUnavailable      = "ServiceUnavailable"
)

// refusal is an answer that says no. Gateway and stream write it in their own shape.
type refusal struct {
	status  int
	code    string
	message string
	// timeLeft is what a throttled answer announces in x-ratelimit-user, in milliseconds.
	timeLeft int64
}

func refuse(status int, code, message string) *refusal {
	return &refusal{status: status, code: code, message: message}
}

// invalid names a parameter in the words of the error table and says what is wrong with it.
func invalid(parameter, why string) *refusal {
	return refuse(http.StatusBadRequest, codeInvalidParameter, "The specified parameter "+parameter+" is not valid."+spaced(why))
}

func spaced(text string) string {
	if text == "" {
		return ""
	}
	return " " + text
}

func (s *Server) unknownBot(instance string) *refusal {
	code := s.cfg.Assume.CodeUnknownBot
	if code == codeInvalidParameter {
		return invalid("InstanceId", "")
	}
	status := http.StatusBadRequest
	if code == codeUnknownBot {
		status = http.StatusNotFound
	}
	return refuse(status, code, "The specified InstanceId "+instance+" does not exist.")
}

func (s *Server) forbidden(what string) *refusal {
	return refuse(http.StatusForbidden, s.cfg.Assume.CodeSpace, what)
}

func throttled(timeLeft int64) *refusal {
	return &refusal{
		status: http.StatusBadRequest, code: codeThrottled,
		message: "Request was denied due to user flow control.", timeLeft: timeLeft,
	}
}
