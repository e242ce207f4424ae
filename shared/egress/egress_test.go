package egress_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"xinghe/shared/egress"
	"xinghe/shared/env"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func client(t *testing.T, cfg egress.Config) *egress.Client {
	t.Helper()
	c, err := egress.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// get reads an address and returns what came.
func get(t *testing.T, c *egress.Client, address string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// serve is a server on 127.0.0.1 that counts its visitors.
func serve(t *testing.T, handler http.HandlerFunc) (server *httptest.Server, visits *atomic.Int64) {
	t.Helper()
	visits = new(atomic.Int64)
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		visits.Add(1)
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	return server, visits
}

func secret(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "inside") }

func port(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

func TestHostileAddressesAreRefused(t *testing.T) {
	t.Parallel()
	inside, visits := serve(t, secret)
	// Any port may be dialled, so that it is the address that is refused.
	var number uint16
	if _, err := fmt.Sscan(port(t, inside.URL), &number); err != nil {
		t.Fatal(err)
	}
	c := client(t, egress.Config{Ports: []uint16{80, 443, number}})
	for _, tc := range []struct{ name, host, reason string }{
		{"loopback", "127.0.0.1", "127.0.0.0/8"},
		{"another loopback", "127.8.9.10", "127.0.0.0/8"},
		{"nothing", "0.0.0.0", "0.0.0.0/8"},
		{"link-local, metadata of most clouds", "169.254.169.254", "169.254.0.0/16"},
		{"metadata of Alibaba Cloud", "100.100.100.200", "100.64.0.0/10"},
		{"metadata of Azure", "168.63.129.16", "168.63.129.16/32"},
		{"carrier-grade NAT", "100.64.0.1", "100.64.0.0/10"},
		{"private 10", "10.1.2.3", "10.0.0.0/8"},
		{"private 172", "172.16.0.1", "172.16.0.0/12"},
		{"end of private 172", "172.31.255.255", "172.16.0.0/12"},
		{"private 192", "192.168.1.1", "192.168.0.0/16"},
		{"protocol assignments", "192.0.0.192", "192.0.0.0/24"},
		{"benchmarks", "198.18.0.1", "198.18.0.0/15"},
		{"documentation", "203.0.113.7", "203.0.113.0/24"},
		{"multicast", "224.0.0.1", "224.0.0.0/4"},
		{"broadcast", "255.255.255.255", "240.0.0.0/4"},
		{"IPv6 loopback", "[::1]", "Global Unicast"},
		{"IPv6 nothing", "[::]", "Global Unicast"},
		{"IPv6 link-local", "[fe80::1]", "Global Unicast"},
		{"IPv6 with a zone", "[fe80::1%25lo]", "zone"},
		{"public IPv6 with a zone", "[2606:4700::1111%25lo]", "zone"},
		{"unique local", "[fd00:ec2::254]", "Global Unicast"},
		{"site-local", "[fec0::1]", "Global Unicast"},
		{"IPv6 multicast", "[ff02::1]", "Global Unicast"},
		{"mapped", "[::ffff:127.0.0.1]", "in the form of IPv6"},
		{"mapped, in hex", "[::ffff:7f00:1]", "in the form of IPv6"},
		{"mapped public", "[::ffff:8.8.8.8]", "in the form of IPv6"},
		{"compatible", "[::127.0.0.1]", "Global Unicast"},
		{"NAT64", "[64:ff9b::7f00:1]", "Global Unicast"},
		{"local NAT64", "[64:ff9b:1::7f00:1]", "Global Unicast"},
		{"6to4", "[2002:7f00:1::]", "2002::/16"},
		{"Teredo", "[2001:0:7f00:1::]", "2001::/23"},
		{"IPv6 documentation", "[2001:db8::1]", "2001:db8::/32"},
		{"decimal", "2130706433", "usual form"},
		{"octal", "0177.0.0.1", "usual form"},
		{"octal whole", "017700000001", "usual form"},
		{"hex", "0x7f.0.0.1", "usual form"},
		{"hex whole", "0x7f000001", "usual form"},
		{"hex without digits", "127.0.0.0x", "usual form"},
		{"short", "127.1", "usual form"},
		{"leading zeros", "127.000.000.001", "usual form"},
		{"with a dot at the end", "127.0.0.1.", "usual form"},
		{"digits of another script", "１２７.0.0.1", "punycode"},
		{"digits in circles", "①②⑦.⓪.⓪.①", "punycode"},
		{"a full stop of another script", "127。0。0。1", "punycode"},
		{"empty label", "a..b", "not a name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			address := "http://" + tc.host + ":" + port(t, inside.URL) + "/?Signature=canary"
			_, err := get(t, c, address)
			refused, ok := errors.AsType[*egress.RefusedError](err)
			if !ok || !strings.Contains(refused.Reason, tc.reason) {
				t.Errorf("%s: %v; want it refused for %q", tc.host, err, tc.reason)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("the error repeats what gives access: %v", err)
			}
			if err := c.Check(address); err == nil {
				t.Errorf("%s: passes the check", tc.host)
			}
		})
	}
	t.Cleanup(func() {
		if n := visits.Load(); n > 0 {
			t.Errorf("the inside was visited %d times", n)
		}
	})
}

func TestAddressesThatAreRefusedForTheirForm(t *testing.T) {
	t.Parallel()
	c := client(t, egress.Config{})
	for address, reason := range map[string]string{
		"ftp://example.com/x":                 "scheme",
		"file:///etc/passwd":                  "scheme",
		"gopher://example.com":                "scheme",
		"//example.com/x":                     "scheme",
		"example.com":                         "scheme",
		"http:///x":                           "no host",
		"http://user@example.com/":            "user information",
		"http://canary:canary@example.com/":   "user information",
		"http://127.0.0.1@example.com/":       "user information",
		"http://example.com:22/":              "port 22",
		"http://example.com:6379/":            "port 6379",
		"http://example.com:0/":               "port",
		"http://example.com:080/":             "port",
		"http://example.com:65616/":           "port", // 80, if cut to 16 bits
		"http://example.com:/":                "port",
		"http://example.com\t.evil.test/":     "not an address",
		"http://[::1/":                        "not an address",
		"http://" + strings.Repeat("a.", 200): "not a name",
		"http://bücher.example/":              "punycode",
	} {
		err := c.Check(address)
		refused, ok := errors.AsType[*egress.RefusedError](err)
		if !ok || !strings.Contains(refused.Reason, reason) {
			t.Errorf("%q: %v; want it refused for %q", address, err, reason)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: the error repeats it: %v", address, err)
		}
	}
	for _, address := range []string{
		"https://example.com/a.png?Expires=1", "http://EXAMPLE.com:80", "https://8.8.8.8/", "https://[2606:4700::1111]:443/",
		"https://dashscope-result-bj.oss-cn-beijing.aliyuncs.com/a", "https://1.example.com", "https://example.com./", "https://a_b.example.com",
	} {
		if err := c.Check(address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// Names are judged by what they lead to when they are dialled.
func TestNamesThatLeadInside(t *testing.T) {
	t.Parallel()
	inside, visits := serve(t, secret)
	var number uint16
	if _, err := fmt.Sscan(port(t, inside.URL), &number); err != nil {
		t.Fatal(err)
	}
	resolver := resolve(t, map[string][]string{
		"loopback.test.": {"127.0.0.1"}, "private.test.": {"10.0.0.1", "192.168.0.1"}, "metadata.test.": {"100.100.100.200"},
		"six.test.": {"::1"}, "mapped.test.": {"::ffff:7f00:1"}, "both.test.": {"fd00::1", "127.0.0.1"},
	})
	c := client(t, egress.Config{Ports: []uint16{number}, Resolver: resolver})
	for name, reason := range map[string]string{
		"loopback.test": "127.0.0.0/8", "LOOPBACK.test.": "127.0.0.0/8", "private.test": "10.0.0.0/8", "metadata.test": "100.64.0.0/10",
		"six.test": "Global Unicast", "mapped.test": "127.0.0.0/8", "both.test": "not a permitted destination",
	} {
		_, err := get(t, c, "http://"+name+":"+port(t, inside.URL)+"/")
		refused, ok := errors.AsType[*egress.RefusedError](err)
		if !ok || !strings.Contains(refused.Reason, reason) || refused.Host != name {
			t.Errorf("%s: %v; want it refused for %q", name, err, reason)
		}
	}
	if _, err := get(t, c, "http://nowhere.test:"+port(t, inside.URL)+"/"); err == nil || errors.As(err, new(*egress.RefusedError)) {
		t.Errorf("a name that does not exist: %v; want an error of the network", err)
	}
	if n := visits.Load(); n > 0 {
		t.Errorf("the inside was visited %d times", n)
	}
	allowed := client(t, egress.Config{Allow: []string{"Loopback.test"}, Resolver: resolver})
	if body, err := get(t, allowed, "http://loopback.test:"+port(t, inside.URL)+"/"); err != nil || body != "inside" {
		t.Errorf("an allowed name: %q, %v", body, err)
	}
	if _, err := get(t, allowed, "http://127.0.0.1:"+port(t, inside.URL)+"/"); !errors.As(err, new(*egress.RefusedError)) {
		t.Errorf("the address behind an allowed name: %v; want it refused", err)
	}
}

func TestAllowedHosts(t *testing.T) {
	t.Parallel()
	inside, _ := serve(t, secret)
	address := strings.TrimPrefix(inside.URL, "http://")
	for _, allow := range []string{"127.0.0.1", address} {
		if body, err := get(t, client(t, egress.Config{Allow: []string{"other.test", allow}}), inside.URL); err != nil || body != "inside" {
			t.Errorf("%s: %q, %v", allow, body, err)
		}
	}
	for _, allow := range []string{"127.0.0.2", "127.0.0.1:1", "localhost", "[::1]:" + port(t, inside.URL)} {
		if _, err := get(t, client(t, egress.Config{Allow: []string{allow}}), inside.URL); !errors.As(err, new(*egress.RefusedError)) {
			t.Errorf("%s: %v; want it refused", allow, err)
		}
	}
	vars := env.New(func(string) string { return "[::1]:80, ::1, localhost:8788" })
	if cfg := egress.FromEnv(vars); vars.Err() != nil || len(cfg.Allow) != 3 {
		t.Errorf("%v, %v", cfg.Allow, vars.Err())
	}
	for _, bad := range []string{"10.0.0.0/8", "http://localhost", "2130706433", "localhost:http", "*"} {
		vars := env.New(func(string) string { return bad })
		if egress.FromEnv(vars); vars.Err() == nil || !strings.Contains(vars.Err().Error(), "XINGHE_ALLOW_HOSTS") {
			t.Errorf("%q: %v", bad, vars.Err())
		}
		if _, err := egress.New(egress.Config{Allow: []string{bad}}); err == nil {
			t.Errorf("%q makes a client", bad)
		}
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	inside, visits := serve(t, secret)
	var target atomic.Pointer[string]
	outside, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/end" {
			_, _ = fmt.Fprintf(w, "end, referer %q", r.Header.Get("Referer"))
			return
		}
		http.Redirect(w, r, *target.Load(), http.StatusFound)
	})
	c := client(t, egress.Config{Allow: []string{strings.TrimPrefix(outside.URL, "http://")}, Redirects: 2})
	for to, reason := range map[string]string{
		inside.URL: "127.0.0.0/8", "http://169.254.169.254/latest/meta-data": "169.254.0.0/16", "http://[::1]/": "Global Unicast",
		"file:///etc/passwd": "scheme", "http://a@example.com/": "user information", "http://0x7f000001/": "usual form",
		outside.URL + "/again": "more than 2 redirects", "http://example.com:22/": "port 22",
	} {
		target.Store(&to)
		_, err := get(t, c, outside.URL+"/start?Signature=canary")
		refused, ok := errors.AsType[*egress.RefusedError](err)
		if !ok || !strings.Contains(refused.Reason, reason) {
			t.Errorf("to %s: %v; want it refused for %q", to, err, reason)
		}
	}
	if n := visits.Load(); n > 0 {
		t.Errorf("the inside was visited %d times", n)
	}
	end := outside.URL + "/end"
	target.Store(&end)
	if body, err := get(t, c, outside.URL+"/start?Signature=canary"); err != nil || body != `end, referer ""` {
		t.Errorf("a good redirect: %q, %v", body, err)
	}
	none := client(t, egress.Config{Allow: []string{"127.0.0.1"}, Redirects: -1})
	if _, err := get(t, none, outside.URL+"/start"); !errors.As(err, new(*egress.RefusedError)) {
		t.Errorf("where none are followed: %v", err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	server, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/fits":
			_, _ = io.WriteString(w, strings.Repeat("x", 100))
		case "/announced":
			_, _ = io.WriteString(w, strings.Repeat("x", 101))
		case "/chunked":
			for range 3 {
				_, _ = io.WriteString(w, strings.Repeat("x", 50))
				_ = http.NewResponseController(w).Flush()
			}
		case "/cut":
			w.Header().Set("Content-Length", "90")
			_, _ = io.WriteString(w, "short")
		case "/silent":
			select {
			case <-r.Context().Done():
			case <-release:
			}
		case "/slow":
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-release:
			}
		case "/encoding":
			_, _ = io.WriteString(w, r.Header.Get("Accept-Encoding")+r.Header.Get("Cookie"))
			http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		}
	})
	t.Cleanup(func() { close(release) })
	c := client(t, egress.Config{Allow: []string{"127.0.0.1"}, MaxBytes: 100})
	if body, err := get(t, c, server.URL+"/fits"); err != nil || len(body) != 100 {
		t.Errorf("what fits: %d bytes, %v", len(body), err)
	}
	for _, path := range []string{"/announced", "/chunked"} {
		if body, err := get(t, c, server.URL+path); !errors.Is(err, egress.ErrTooLarge) || len(body) > 100 {
			t.Errorf("%s: %d bytes, %v", path, len(body), err)
		}
	}
	if _, err := get(t, c, server.URL+"/cut"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an answer that breaks off: %v", err)
	}
	for range 2 {
		if body, err := get(t, c, server.URL+"/encoding"); err != nil || body != "" {
			t.Errorf("asks for compression or keeps cookies: %q, %v", body, err)
		}
	}
	impatient := client(t, egress.Config{Allow: []string{"127.0.0.1"}, AnswerTimeout: 50 * time.Millisecond, Timeout: 150 * time.Millisecond})
	for _, path := range []string{"/silent", "/slow"} {
		_, err := get(t, impatient, server.URL+path+"?Signature=canary")
		if timed, ok := errors.AsType[net.Error](err); !ok || !timed.Timeout() || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v; want a time-out", path, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/fits", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that has left: %v", err)
	}
}

func FuzzCheck(f *testing.F) {
	for _, seed := range []string{"http://127.0.0.1/", "https://example.com:443/a?b#c", "http://[::ffff:1.2.3.4]:80", "http://0x7f.1", "http://a@b"} {
		f.Add(seed)
	}
	c, err := egress.New(egress.Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, address string) {
		if c.Check(address) != nil {
			return
		}
		u, err := url.Parse(address)
		if err != nil {
			t.Fatalf("%q passes and is no address: %v", address, err)
		}
		if ip := net.ParseIP(u.Hostname()); ip != nil && (!ip.IsGlobalUnicast() || ip.IsPrivate() || ip.IsLoopback()) {
			t.Errorf("%q passes", address)
		}
		if u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
			t.Errorf("%q passes", address)
		}
	})
}

func ExampleClient_Check() {
	c, err := egress.New(egress.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	fmt.Println(c.Check("https://example.com/picture.png"))
	fmt.Println(c.Check("http://0x7f000001/"))
	// Output:
	// <nil>
	// refused 0x7f000001: a number that is no IPv4 address in its usual form
}
