package budget

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/rs/zerolog"

	"xinghe/shared/env"
	"xinghe/shared/queue"
	"xinghe/shared/sign"
)

// FromEnv makes the budget of an upstream key from the variable that holds its rate in
// requests a second, such as XINGCHEN_RPS; unset or 0 means no limit, and gives nil. The
// members of one key find each other by the service's name and a digest of the key. q may
// be nil: then the process keeps to the rate by itself.
func FromEnv(vars *env.Vars, variable, service string, key sign.Secret, q *queue.Queue, logger zerolog.Logger) *Budget {
	rate := vars.Float(variable, 0)
	if rate == 0 {
		return nil
	}
	digest := sha256.Sum256([]byte(key.Reveal()))
	b, err := New(Config{Name: service + "-" + hex.EncodeToString(digest[:4]), Rate: rate, Queue: q, Logger: logger})
	vars.Fault(variable, err)
	return b
}
