package characterapi

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"xinghe/shared/egress"
)

// privateNames end the names of hosts that are not on the public internet.
var privateNames = []string{"localhost", "localdomain", "local", "internal", "intranet", "lan", "corp", "home.arpa"}

// Addresses judges the addresses of files that upstream is to fetch, by how they are
// written: no name is resolved, and nothing is fetched.
type Addresses struct {
	guard *egress.Client
	allow []string
}

// NewAddresses takes what is exempt from cfg.Allow.
func NewAddresses(cfg egress.Config) (*Addresses, error) {
	guard, err := egress.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("characterapi: %w", err)
	}
	return &Addresses{guard: guard, allow: cfg.Allow}, nil
}

// fault says what is wrong with an address; empty for nothing.
func (a *Addresses) fault(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "is not an address"
	}
	refused, ok := errors.AsType[*egress.RefusedError](a.guard.Check(address))
	// Any port of a public host will do: it is not this function that fetches.
	if ok && a.guard.Check(withoutPort(u)) != nil {
		return "is refused: " + refused.Reason
	}
	host := strings.ToLower(u.Hostname())
	if privateName(host) && !slices.Contains(a.allow, host) && !slices.Contains(a.allow, strings.ToLower(u.Host)) {
		return "is refused: a host of a private network"
	}
	return ""
}

// withoutPort is the address at the scheme's own port, if it names another that there is.
func withoutPort(u *url.URL) string {
	bare := *u
	if port, err := strconv.ParseUint(u.Port(), 10, 16); err == nil && port > 0 {
		bare.Host = strings.TrimSuffix(u.Host, ":"+u.Port())
	}
	return bare.String()
}

// privateName reports whether a name is one of private networks, or has no domain.
func privateName(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	host = strings.TrimSuffix(host, ".")
	return !strings.Contains(host, ".") ||
		slices.ContainsFunc(privateNames, func(name string) bool { return strings.HasSuffix(host, "."+name) })
}
