// Package faastest tests functions as their mains build them.
package faastest

import (
	"net"
	"testing"

	"github.com/rs/zerolog"

	"xinghe/shared/env"
	"xinghe/shared/faas"
)

// NoNetwork builds a function with everything configured, at addresses where somebody waits,
// and fails if it connects: a cold start pays for no connection, and needs nobody to be there.
func NoNetwork(t *testing.T, build func(*env.Vars, zerolog.Logger) (faas.Function, error)) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	addr := listener.Addr().String()
	vars := map[string]string{ //nolint:gosec // nobody's secrets
		"NATS_URL": "nats://" + addr, "XINGHE_API_KEYS": "local-dev", "XINGCHEN_API_KEY": "lm-local", "XINGCHEN_BASE_URL": "http://" + addr,
		"XINGCHEN_RPS": "5", "BEEBOT_RPS": "5", "ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI-local", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "local-secret",
		"BEEBOT_ENDPOINT": "http://" + addr, "BEEBOT_STREAM_URL": "http://" + addr, "XINGHE_DATA": t.TempDir(),
		"XINGHE_WEBHOOK_SOURCES": `[{"name":"s","standard":{"secrets":["env:SECRET"]},"action":"publish"}]`, "SECRET": "whsec_Y3VycmVudC1zZWNyZXQtb2YtdGhlLXRlc3Rz",
	}
	read := env.New(func(name string) string { return vars[name] })
	fn, err := build(read, zerolog.Nop())
	if err != nil || read.Err() != nil {
		t.Fatal(err, read.Err())
	}
	if fn.Thaw != nil {
		fn.Thaw() // there is nothing to renew
	}
	if fn.Close != nil {
		fn.Close() // waits for whatever is dialling
	}
	// Connections are taken in their order: the first must be this one.
	own, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = own.Close() }()
	first, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close() }()
	if first.RemoteAddr().String() != own.LocalAddr().String() {
		t.Error("somebody else has dialled")
	}
}
