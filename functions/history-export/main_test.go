package main

import (
	"net"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"xinghe/shared/env"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A cold start pays for no connection, and needs nobody to be there.
func TestBuildTouchesNoNetwork(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	addr := listener.Addr().String()
	vars := map[string]string{
		"NATS_URL": "nats://" + addr, "XINGHE_API_KEYS": "local-dev", "XINGCHEN_API_KEY": "lm-local", "XINGCHEN_BASE_URL": "http://" + addr,
		"XINGCHEN_RPS": "5", "BEEBOT_RPS": "5", "ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI-local", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "local-secret",
		"BEEBOT_ENDPOINT": "http://" + addr, "BEEBOT_STREAM_URL": "http://" + addr, "XINGHE_DATA": t.TempDir(),
	}
	read := env.New(func(name string) string { return vars[name] })
	fn, err := build(read, zerolog.Nop())
	if err != nil || read.Err() != nil {
		t.Fatal(err, read.Err())
	}
	fn.Thaw()  // there is nothing to renew
	fn.Close() // waits for whatever is dialling
	// Connections are taken in their order: the first must be this one.
	own, err := net.Dial("tcp", addr)
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
