// Package env reads a program's configuration from environment variables and reports all
// faults at once.
//
//	vars := env.New(os.Getenv)
//	addr := vars.String("XINGHE_ADDR", "127.0.0.1:8787")
//	key := vars.Secret("XINGCHEN_API_KEY")
//	if err := vars.Err(); err != nil { … }
//
// Every secret can also stand in a file that the variable with the suffix _FILE names.
package env

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"xinghe/shared/sign"
)

// Vars reads variables. Its methods never fail; what was wrong stands in [Vars.Err].
type Vars struct {
	getenv func(string) string
	faults []error
}

// New reads through getenv, as a rule os.Getenv.
func New(getenv func(string) string) *Vars { return &Vars{getenv: getenv} }

// Err returns everything that was wrong with the variables read so far, each fault naming
// its variable, or nil.
func (v *Vars) Err() error { return errors.Join(v.faults...) }

// Fault notes that a variable's value does not do, for checks of the caller's own.
func (v *Vars) Fault(name string, err error) {
	if err == nil {
		return
	}
	fault := fmt.Errorf("%s: %w", name, err)
	told := func(other error) bool { return other.Error() == fault.Error() }
	if !slices.ContainsFunc(v.faults, told) { // several may read a variable
		v.faults = append(v.faults, fault)
	}
}

// String reads a text; an unset or empty variable gives the fallback.
func (v *Vars) String(name, fallback string) string {
	if value := strings.TrimSpace(v.getenv(name)); value != "" {
		return value
	}
	return fallback
}

// Secret reads a credential from the variable, or from the file that name_FILE names.
// Neither set gives the zero Secret.
func (v *Vars) Secret(name string) sign.Secret {
	value, file := v.getenv(name), v.getenv(name+"_FILE")
	if file == "" {
		return sign.NewSecret(strings.TrimSpace(value))
	}
	if value != "" {
		v.Fault(name, fmt.Errorf("set together with %s_FILE; use one", name))
		return sign.Secret{}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		v.Fault(name+"_FILE", err)
		return sign.Secret{}
	}
	return sign.NewSecret(strings.TrimSpace(string(text)))
}

// URL reads an address with scheme http or https, and gives it without a slash at the end.
func (v *Vars) URL(name, fallback string) string {
	value := v.String(name, fallback)
	if value == "" {
		return ""
	}
	u, err := url.Parse(value)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		v.Fault(name, errors.New("want an address with its scheme, such as https://example.com"))
		return fallback
	}
	return strings.TrimRight(value, "/")
}

// Duration reads a time span such as 30s or 2h, not negative.
func (v *Vars) Duration(name string, fallback time.Duration) time.Duration {
	text := v.String(name, "")
	if text == "" {
		return fallback
	}
	value, err := time.ParseDuration(text)
	if err != nil || value < 0 {
		v.Fault(name, fmt.Errorf("%q is no time span such as 30s or 2h", text))
		return fallback
	}
	return value
}

// Int reads a whole number of at least minimum.
func (v *Vars) Int(name string, fallback, minimum int) int {
	text := v.String(name, "")
	if text == "" {
		return fallback
	}
	value, err := strconv.Atoi(text)
	if err != nil || value < minimum {
		v.Fault(name, fmt.Errorf("%q is no whole number of at least %d", text, minimum))
		return fallback
	}
	return value
}

// Choice reads one of a few words; the first is the fallback.
func (v *Vars) Choice(name string, words ...string) string {
	value := v.String(name, words[0])
	if slices.Contains(words, value) {
		return value
	}
	v.Fault(name, fmt.Errorf("%q is none of: %s", value, strings.Join(words, ", ")))
	return words[0]
}

// List reads a comma-separated list.
func (v *Vars) List(name string) []string {
	var list []string
	for item := range strings.SplitSeq(v.getenv(name), ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

// Float reads a number that is not negative.
func (v *Vars) Float(name string, fallback float64) float64 {
	text := v.String(name, "")
	if text == "" {
		return fallback
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || value < 0 || math.IsInf(value, 0) || math.IsNaN(value) {
		v.Fault(name, fmt.Errorf("%q is no number of at least 0", text))
		return fallback
	}
	return value
}
