package egress

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// RefusedError says that an address was not visited, or an answer not read. Trying again
// does not help.
type RefusedError struct {
	// Host that was refused, as the address names it; it may be empty.
	Host string
	// Reason in words.
	Reason string
}

func (e *RefusedError) Error() string {
	if e.Host == "" {
		return "refused: " + e.Reason
	}
	return fmt.Sprintf("refused %s: %s", e.Host, e.Reason)
}

// Check returns a [*RefusedError] for an address that would be refused for how it is
// written. It resolves no names: that happens each time anew when the address is visited.
func (c *Client) Check(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return &RefusedError{Reason: "not an address"} // the parser's words repeat it whole
	}
	return c.check(u)
}

func (c *Client) check(u *url.URL) error {
	host := u.Hostname()
	refuse := func(format string, args ...any) error {
		return &RefusedError{Host: host, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return refuse("the scheme %q is neither http nor https", u.Scheme)
	case host == "":
		return refuse("no host")
	case u.User != nil:
		return refuse("user information in the address")
	}
	port, err := portOf(u)
	if err != nil {
		return refuse("%v", err)
	}
	if fault := hostFault(host); fault != "" {
		return refuse("%s", fault)
	}
	if c.allowed(host, port) {
		return nil
	}
	number, _ := strconv.ParseUint(port, 10, 16) // portOf has checked it
	if ip, err := netip.ParseAddr(host); err == nil {
		if err := c.guard.SafeAddrPort(netip.AddrPortFrom(ip, uint16(number))); err != nil {
			return refuse("%v", err)
		}
	}
	if !c.ports[uint16(number)] {
		return refuse("port %d", number)
	}
	return nil
}

func portOf(u *url.URL) (string, error) {
	port := u.Port()
	if port == "" {
		if strings.HasSuffix(u.Host, ":") {
			return "", fmt.Errorf("no port after the colon")
		}
		return map[string]string{"http": "80", "https": "443"}[u.Scheme], nil
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 || port[0] == '0' {
		return "", fmt.Errorf("port %q", port)
	}
	return port, nil
}

// hostFault says what is wrong with how a host is written. Addresses must be written in the
// one form that every resolver reads alike: some take 2130706433, 0177.0.0.1 or 0x7f.1 for
// 127.0.0.1.
func hostFault(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		switch {
		case ip.Zone() != "":
			return "an address with a zone"
		case ip.Is4In6():
			return "an IPv4 address in the form of IPv6"
		}
		return ""
	}
	if strings.ContainsFunc(host, notInHost) {
		return "a name has letters of ASCII, digits, '-', '_' and '.'; write others in punycode"
	}
	if len(host) > 253 || strings.HasPrefix(host, ".") || strings.Contains(host, "..") {
		return "not a name"
	}
	name := strings.TrimSuffix(host, ".")
	if numeric(name[strings.LastIndexByte(name, '.')+1:]) {
		return "a number that is no IPv4 address in its usual form"
	}
	return ""
}

func notInHost(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
}

// numeric tells the last label of what some resolvers read as an IPv4 address.
func numeric(label string) bool {
	digits, base := label, 10
	if rest, ok := strings.CutPrefix(strings.ToLower(label), "0x"); ok {
		if rest == "" {
			return true
		}
		digits, base = rest, 16
	}
	for _, r := range digits {
		if _, err := strconv.ParseUint(string(r), base, 8); err != nil {
			return false
		}
	}
	return digits != ""
}

// allowed reports whether an exception names the host, and the port if it names one.
func (c *Client) allowed(host, port string) bool {
	host = canonical(host)
	return c.allow[host] || c.allow[net.JoinHostPort(host, port)]
}

func canonical(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.String()
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// parseAllowed reads the exceptions: host, host:port, [IPv6]:port.
func parseAllowed(entries []string) (map[string]bool, error) {
	allow := make(map[string]bool, len(entries))
	for _, entry := range entries {
		host, port, err := net.SplitHostPort(entry)
		if err != nil {
			host, port = strings.TrimSuffix(strings.TrimPrefix(entry, "["), "]"), ""
		}
		if host == "" || hostFault(host) != "" {
			return nil, fmt.Errorf("%q is no host, such as 127.0.0.1, localhost:8788 or [::1]:8788", entry)
		}
		if port == "" {
			allow[canonical(host)] = true
			continue
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return nil, fmt.Errorf("%q: port %q", entry, port)
		}
		allow[net.JoinHostPort(canonical(host), port)] = true
	}
	return allow, nil
}
