package stack

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/env"
	"xinghe/shared/telemetry"
)

// mute is an address where every connection is closed at once.
func mute(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-ended
	})
	return listener.Addr().String()
}

// TestNobodyAnswersForNATS is about variables that were exported for another program.
func TestNobodyAnswersForNATS(t *testing.T) {
	t.Parallel()
	addr := mute(t)
	folder := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, value := range map[string]string{
		"NATS_URL":      "nats://me:canary@" + addr + ", canary@" + addr,
		"NATS_URL_FILE": file("url", "nats://me:canary@"+addr+",nats://"+addr),
		"NATS_CONTEXT":  file("context.json", `{"url":"nats://`+addr+`,`+addr+`","user":"me","password":"canary"}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vars := env.New(func(asked string) string { return map[string]string{name: value}[asked] })
			s := &Stack{settings: readSettings(vars, zerolog.Nop())}
			s.settings.queue.Timeout = 300 * time.Millisecond // nobody will answer, however long it takes
			var err error
			if s.telemetry, err = telemetry.New(t.Context(), telemetry.Config{}); err != nil || vars.Err() != nil {
				t.Fatal(err, vars.Err())
			}
			got := s.startNATS(t.Context(), Config{})
			s.queue.Close()
			if err := s.telemetry.Close(); err != nil {
				t.Error(err)
			}
			want := name + " is set, so no NATS of the stack's own was started, and none with JetStream answers at nats://" + addr + ",nats://" + addr + ": start it there, or unset " + name
			if got == nil || !strings.HasPrefix(got.Error(), want) || strings.Contains(got.Error(), "canary") {
				t.Errorf("%v\nwant %s", got, want)
			}
		})
	}
}
