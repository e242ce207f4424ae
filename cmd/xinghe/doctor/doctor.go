// Package doctor looks at a configuration and says what is wrong with it: it reads the
// variables as functions and workers do, calls what they name, and leaves nothing behind.
//
//	for finding := range doctor.Examine(ctx, os.Getenv) {
//		fmt.Println(finding.State, finding.Name, finding.Detail)
//	}
//
// It asks Xingchen for one character and Beebot for stream credentials, looks at the streams
// of NATS, writes a file of some bytes to the sink and deletes it again, and compares clocks.
// What is not configured is left out, and said so. It does not chat: whether a character or a
// robot answers is not its business. Nor are the variables that the local stack alone reads.
package doctor

import (
	"context"
	"iter"
	"time"

	"xinghe/shared/env"
	"xinghe/shared/sign"
)

// State of what was looked at.
type State string

// The states.
const (
	OK      State = "ok"
	Wrong   State = "wrong"
	Skipped State = "skipped" // not configured
)

// Finding is what is known of one part of a configuration.
type Finding struct {
	// Name of the part, such as "nats".
	Name  string `json:"name"`
	State State  `json:"state"`
	// Detail says what was seen, or what to do; without secrets.
	Detail string `json:"detail"`
	// Ms is how long it took, in milliseconds.
	Ms int64 `json:"ms"`
}

// patience bounds each look.
const patience = 5 * time.Second

// look examines one part. What it returns is the detail of a finding: a nil error is ok, an
// empty detail beside it means that the part is not configured.
type look struct {
	name string
	do   func(ctx context.Context, vars *env.Vars) (detail string, err error)
}

// notConfigured is the detail of what was left out.
const notConfigured = "not configured"

// Examine looks at the variables, and then at one part after another that they name. It ends
// early only with the context.
func Examine(ctx context.Context, getenv func(string) string) iter.Seq[Finding] {
	return func(yield func(Finding) bool) {
		if !yield(variables(ctx, getenv)) {
			return
		}
		for _, l := range looks {
			if ctx.Err() != nil || !yield(l.examine(ctx, getenv)) {
				return
			}
		}
	}
}

func (l look) examine(ctx context.Context, getenv func(string) string) Finding {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	vars := env.New(getenv)
	detail, err := l.do(ctx, vars)
	f := Finding{Name: l.name, State: OK, Detail: detail, Ms: time.Since(began).Milliseconds()}
	switch {
	case vars.Err() != nil: // whatever followed may come of that
		f.State, f.Detail = Skipped, "its variables cannot be read, see above"
	case err != nil:
		f.State, f.Detail = Wrong, redacted(err)
	case detail == "":
		f.State, f.Detail = Skipped, notConfigured
	}
	return f
}

func redacted(err error) string { return sign.Redact(err.Error()) }
