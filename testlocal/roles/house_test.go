package roles_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"xinghe/testlocal/deployment"
	"xinghe/testlocal/emulator"
)

const (
	root = "../.."
	// patience is how long anything may take on a busy machine.
	patience = time.Minute
	loopback = "127.0.0.1"
	apiKey   = "roles"
)

// house is a NATS server with the roles, the emulator, and the programs that were built.
type house struct {
	t        *testing.T
	nats     *server.Server
	upstream string
	folder   string

	mu   sync.Mutex
	logs map[string]*log
}

func open(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, folder: t.TempDir(), logs: map[string]*log{}}
	h.certificate()
	h.nats = h.serve()
	emu, err := emulator.New(emulator.Config{Pace: emulator.NoPace})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(emu)
	t.Cleanup(func() {
		front.Close()
		if err := emu.Close(); err != nil {
			t.Error(err)
		}
	})
	h.upstream = front.URL
	h.build()
	return h
}

func (h *house) path(name string) string { return filepath.Join(h.folder, name) }

// certificate writes that of the server, which nobody but this test has signed.
func (h *house) certificate() {
	h.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		h.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.ParseIP(loopback)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		h.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		h.t.Fatal(err)
	}
	h.write("cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	h.write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

func (h *house) write(name string, text []byte) {
	h.t.Helper()
	if err := os.WriteFile(h.path(name), text, 0o600); err != nil {
		h.t.Fatal(err)
	}
}

var variable = regexp.MustCompile(`\$([A-Z_]+)`)

// serve starts a server with the file as it stands, but for its port. What the file takes
// from the environment is written before it.
func (h *house) serve() *server.Server {
	h.t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "deploy", "nats.conf"))
	if err != nil {
		h.t.Fatal(err)
	}
	values := map[string]string{
		"NATS_SERVER_NAME": "roles", "NATS_STORE_DIR": h.path("jetstream"), "NATS_TLS_CERT": h.path("cert.pem"), "NATS_TLS_KEY": h.path("key.pem"),
	}
	for _, match := range variable.FindAllSubmatch(text, -1) {
		name := string(match[1])
		if role, ok := strings.CutSuffix(strings.TrimPrefix(name, "NATS_"), "_PASSWORD"); ok {
			values[name] = password(strings.ToLower(role))
		}
	}
	var whole bytes.Buffer
	for name, value := range values {
		_, _ = fmt.Fprintf(&whole, "%s: %q\n", name, value)
	}
	h.write("nats.conf", append(whole.Bytes(), text...))
	options, err := server.ProcessConfigFile(h.path("nats.conf"))
	if err != nil {
		h.t.Fatal(err)
	}
	options.Host, options.Port, options.NoSigs, options.NoLog = loopback, server.RANDOM_PORT, true, true
	srv, err := server.NewServer(options)
	if err != nil {
		h.t.Fatal(err)
	}
	srv.Start()
	h.t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(patience) {
		h.t.Fatal("the server is not ready")
	}
	return srv
}

func password(role string) string { return "password-of-" + role }

// address is how a role reaches the server.
func (h *house) address(role string) string {
	return fmt.Sprintf("tls://%s:%s@%s", role, password(role), h.nats.Addr())
}

// connect is a role's connection, made by hand.
func (h *house) connect(t *testing.T, role string) *nats.Conn {
	t.Helper()
	pool := x509.NewCertPool()
	text, err := os.ReadFile(h.path("cert.pem"))
	if err != nil || !pool.AppendCertsFromPEM(text) {
		t.Fatalf("read the certificate: %v", err)
	}
	nc, err := nats.Connect(h.address(role), nats.Secure(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatalf("connect as %s: %v", role, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// build makes the programs.
func (h *house) build() {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), "go", "build", "-ldflags=-s -w", "-o", h.path("bin")+string(filepath.Separator),
		"./functions/...", "./workers", "./cmd/xinghe")
	cmd.Dir = root
	if output, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("build: %v\n%s", err, output)
	}
}

// environment is what a program with a role is told.
func (h *house) environment(role string, more ...string) []string {
	return append([]string{
		"NATS_URL=" + h.address(role), "SSL_CERT_FILE=" + h.path("cert.pem"), "HOME=" + h.folder,
		"XINGHE_API_KEYS=" + apiKey, "XINGCHEN_BASE_URL=" + h.upstream, "XINGCHEN_API_KEY=" + emulator.DefaultXingchenKey, "XINGCHEN_RPS=200",
		"XINGHE_SINK=folder:" + h.path("files"), "XINGHE_ALLOW_HOSTS=" + strings.TrimPrefix(h.upstream, "http://"), "LOG_LEVEL=debug",
	}, more...)
}

// start runs a program until the test ends, and then looks at how it has ended.
func (h *house) start(role, program string, environment []string) *log {
	h.t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(h.t.Context()), h.path(filepath.Join("bin", program)))
	lines := &log{}
	h.mu.Lock()
	h.logs[fmt.Sprintf("%s %d", role, len(h.logs))] = lines
	h.mu.Unlock()
	cmd.Env, cmd.Stdout, cmd.Stderr = environment, lines, lines
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	h.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case err := <-ended:
			if err != nil {
				h.t.Errorf("%s: %v\n%s", role, err, lines)
			}
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			h.t.Errorf("%s does not end\n%s", role, lines)
		}
		if h.t.Failed() {
			h.t.Logf("%s said:\n%s", role, lines)
		}
	})
	return lines
}

// work starts a kind of workers.
func (h *house) work(kind string, more ...string) {
	h.t.Helper()
	role := "worker_" + kind
	h.start(role, "workers", h.environment(role, append(more, "XINGHE_WORKERS="+kind)...))
}

// face starts a function with the variables that s.yaml sets for it, but as a plain server,
// and returns its address.
func (h *house) face(function string, more ...string) string {
	h.t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "s.yaml"))
	if err != nil {
		h.t.Fatal(err)
	}
	shell := map[string]string{}
	for _, text := range h.environment("", more...) {
		name, value, _ := strings.Cut(text, "=")
		shell[name] = value
	}
	for _, role := range []string{"chat", "character", "webhook", "history_export"} {
		shell["NATS_URL_"+strings.ToUpper(role)] = h.address(role)
	}
	set, err := deployment.Environment(text, function, shell)
	if err != nil {
		h.t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(h.t.Context(), "tcp", loopback+":0")
	if err != nil {
		h.t.Fatal(err)
	}
	set["XINGHE_ENTRY"], set["XINGHE_ADDR"] = "http", listener.Addr().String()
	if err := listener.Close(); err != nil {
		h.t.Fatal(err)
	}
	environment := []string{"SSL_CERT_FILE=" + h.path("cert.pem")}
	for name, value := range set {
		environment = append(environment, name+"="+value)
	}
	h.start(strings.ReplaceAll(function, "-", "_"), function, environment)
	return "http://" + set["XINGHE_ADDR"]
}

// log keeps what a program says.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await returns when a text has been said.
func (l *log) await(t *testing.T, text string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !strings.Contains(l.String(), text) {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not said: %s\n%s", text, l)
		}
	}
}

var refused = regexp.MustCompile(`Permissions Violation for (?:Publish|Subscription) to \\?"[^"\\]+`)

// refusals are the permissions that programs have missed, by their roles.
func (h *house) refusals() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	found := map[string]bool{}
	for role, lines := range h.logs {
		for _, text := range refused.FindAllString(lines.String(), -1) {
			found[role+": "+text] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}
