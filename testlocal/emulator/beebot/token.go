package beebot

import (
	"crypto/subtle"
	"net/http"
	"sync/atomic"
	"time"

	"xinghe/shared/sign"
)

// grant is a set of stream credentials.
type grant struct {
	account string // access key id
	space   string
	channel string
	secret  string
	issued  time.Time
	open    atomic.Int64 // streams that run on it
}

type accessAnswer struct {
	RequestID    string `json:"RequestId"`
	AccessToken  string `json:"AccessToken"`
	ChannelID    string `json:"ChannelId"`
	StreamSecret string `json:"StreamSecret"`
}

// applyForStreamAccessToken hands out stream credentials for a business space.
func (s *Server) applyForStreamAccessToken(c *call) (any, *refusal) {
	space, no := s.space(c.param("AgentKey"))
	if no != nil {
		return nil, no
	}
	if s.cfg.Assume.OneToken {
		s.tokens.removeIf(func(g *grant) bool { return g.account == c.keyID && g.space == space })
	}
	token := c.identity.hex()
	given := &grant{account: c.keyID, space: space, channel: c.identity.uuid(), secret: c.identity.uuid(), issued: c.now}
	s.tokens.put(token, given, c.now)
	return accessAnswer{
		RequestID: c.record.RequestID, AccessToken: token, ChannelID: given.channel, StreamSecret: given.secret,
	}, nil
}

// address is what the path of a stream request carries.
type address struct{ token, channel, sign, timestamp string }

// checkAddress verifies stream credentials. The grant is nil only if the token is not known.
func (s *Server) checkAddress(a address, now time.Time) (*grant, *refusal) {
	assume := s.cfg.Assume
	given, known := s.tokens.get(a.token, now)
	if !known || subtle.ConstantTimeCompare([]byte(given.channel), []byte(a.channel)) != 1 {
		return nil, refuse(http.StatusForbidden, assume.CodeBadToken, "The access token or the channel is not valid.")
	}
	if now.Sub(given.issued) >= assume.TokenLifetime {
		return given, s.expiredToken()
	}
	if !sign.VerifyStream(given.secret, a.timestamp, a.sign) {
		return given, refuse(http.StatusForbidden, assume.CodeBadSign, "The signature does not match.")
	}
	if !s.fresh(a.timestamp, now) {
		return given, refuse(http.StatusForbidden, assume.CodeBadSign, "The timestamp of the signature is too old.")
	}
	return given, nil
}

func (s *Server) expiredToken() *refusal {
	return refuse(http.StatusForbidden, s.cfg.Assume.CodeExpiredToken, "The access token has expired.")
}

// fresh reports whether a timestamp in Unix milliseconds is near enough, if that counts at all.
func (s *Server) fresh(timestamp string, now time.Time) bool {
	limit := s.cfg.Assume.SignFreshness
	if limit == 0 {
		return true
	}
	millis, ok := parseMillis(timestamp)
	return ok && now.Sub(time.UnixMilli(millis)).Abs() <= limit
}

func parseMillis(text string) (int64, bool) {
	if text == "" || len(text) > 15 {
		return 0, false
	}
	var n int64
	for _, digit := range []byte(text) {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		n = n*10 + int64(digit-'0')
	}
	return n, true
}
