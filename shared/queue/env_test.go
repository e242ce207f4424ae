package queue_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/env"
	"xinghe/shared/queue"
)

func fromEnv(set map[string]string) (queue.ConnConfig, bool, error) {
	vars := env.New(func(name string) string { return set[name] })
	cfg := queue.FromEnv(vars, "test", zerolog.Nop())
	return cfg, queue.Configured(vars), vars.Err()
}

func write(t *testing.T, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFromEnv(t *testing.T) {
	t.Parallel()
	creds := write(t, "a.creds", "-----BEGIN NATS USER JWT-----\n")
	config := filepath.Dir(filepath.Dir(filepath.Dir(write(t, "nats/context/prod.json", `{"url":"tls://n1","user":"u","password":"canary","creds":"`+creds+`"}`))))
	for name, tc := range map[string]struct {
		set        map[string]string
		url, creds string
		options    int
		configured bool
		fault      string
	}{
		"nothing":         {},
		"url":             {set: map[string]string{"NATS_URL": "nats://a,nats://b"}, url: "nats://a,nats://b", configured: true},
		"url in a file":   {set: map[string]string{"NATS_URL_FILE": write(t, "url", "nats://u:canary@a\n")}, url: "nats://u:canary@a", configured: true},
		"creds by path":   {set: map[string]string{"NATS_CREDS": creds}, creds: creds},
		"creds by text":   {set: map[string]string{"NATS_CREDS": "-----BEGIN NATS USER JWT-----\n…"}, options: 1},
		"creds in a file": {set: map[string]string{"NATS_CREDS_FILE": creds}, options: 1},
		"creds missing":   {set: map[string]string{"NATS_CREDS": "/none/of.creds"}, creds: "/none/of.creds", fault: "NATS_CREDS: stat"},
		"context by name": {
			set: map[string]string{"NATS_CONTEXT": "prod", "XDG_CONFIG_HOME": config},
			url: "tls://n1", creds: creds, options: 1, configured: true,
		},
		"context by path, url before it": {
			set: map[string]string{"NATS_CONTEXT": filepath.Join(config, "nats/context/prod.json"), "NATS_URL": "nats://a"},
			url: "nats://a", creds: creds, options: 1, configured: true,
		},
		"context below home": {
			set:        map[string]string{"NATS_CONTEXT": "prod", "HOME": "/none"},
			configured: true, fault: "NATS_CONTEXT: open /none/.config/nats/context/prod.json",
		},
		"context with more than we do": {
			set:        map[string]string{"NATS_CONTEXT": write(t, "c.json", `{"jetstream_domain":"hub"}`)},
			configured: true, fault: "jetstream_domain is set, which is not supported",
		},
		"context with a reference": {
			set:        map[string]string{"NATS_CONTEXT": write(t, "c.json", `{"creds":"op://vault/canary"}`)},
			configured: true, fault: "creds is no path of a file",
		},
		"context with half a certificate": {
			set:        map[string]string{"NATS_CONTEXT": write(t, "c.json", `{"cert":"`+creds+`"}`)},
			configured: true, fault: "cert and key go together",
		},
		"context that is none": {set: map[string]string{"NATS_CONTEXT": write(t, "c.json", `[`)}, configured: true, fault: "NATS_CONTEXT: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, configured, err := fromEnv(tc.set)
			if cfg.URL != tc.url || cfg.Creds != tc.creds || len(cfg.Options) != tc.options || configured != tc.configured {
				t.Errorf("%q, %q, %d options, configured %t", cfg.URL, cfg.Creds, len(cfg.Options), configured)
			}
			if (err != nil) != (tc.fault != "") || err != nil && !strings.Contains(err.Error(), tc.fault) {
				t.Errorf("fault: %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("a secret shows: %v", err)
			}
		})
	}
}

// What a context says reaches the connection.
func TestContextIsUsed(t *testing.T) {
	t.Parallel()
	cfg, _, err := fromEnv(map[string]string{"NATS_CONTEXT": write(t, "local.json", `{"url":"nats://127.0.0.1:1","user":"u","password":"p"}`)})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := queue.Connect(cfg) // which nobody answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if got := conn.Opts; got.User != "u" || got.Password != "p" || got.Servers[0] != cfg.URL {
		t.Errorf("%q as %q", got.Servers, got.User)
	}
}

func TestConfigFromEnv(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		set   map[string]string
		want  queue.Config
		fault string
	}{
		"nothing":          {},
		"both":             {set: map[string]string{"XINGHE_NATS_REPLICAS": "3", "XINGHE_EVENT_RETENTION": "48h"}, want: queue.Config{Replicas: 3, EventRetention: 48 * time.Hour}},
		"too many servers": {set: map[string]string{"XINGHE_NATS_REPLICAS": "7"}, fault: "XINGHE_NATS_REPLICAS: replicas 7"},
		"too short":        {set: map[string]string{"XINGHE_EVENT_RETENTION": "1ms"}, fault: "XINGHE_EVENT_RETENTION: event retention 1ms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vars := env.New(func(name string) string { return tc.set[name] })
			got := queue.ConfigFromEnv(vars)
			if err := vars.Err(); tc.fault != "" {
				if err == nil || !strings.Contains(err.Error(), tc.fault) {
					t.Errorf("fault: %v", err)
				}
			} else if got != tc.want || err != nil {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}
