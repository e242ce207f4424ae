package delivery_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	reference "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"xinghe/shared/env"
	"xinghe/workers/delivery"
)

// faults are those of a configuration.
func faults(values map[string]string) string {
	vars := env.New(func(name string) string { return values[name] })
	delivery.FromEnv(vars)
	if err := vars.Err(); err != nil {
		return err.Error()
	}
	return ""
}

func TestFaultsOfTheConfiguration(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		text string
		want []string // in the error; none if there are none
	}{
		{"nobody", `[]`, nil},
		{"good", list(subscription("crm-2", "https://crm.example.com", `"rate":0.5`, `"concurrency":256`)), nil},
		{"a private one that is allowed", list(subscription("crm", "http://10.0.0.1:9999")), nil},
		{"no list", `{}`, []string{"no list of webhooks"}},
		{"more than a list", `[] []`, []string{"more follows"}},
		{"an unknown field", list(subscription("crm", "https://crm.example.com", `"header":{}`)), []string{`"header"`}},
		{"nothing in it", `[{}]`, []string{"[0].name", "[0].url: missing", "[0].types: missing", "[0].secrets: no secret"}},
		{"names", list(subscription("a", "https://a.example.com"), subscription("a", "https://a.example.com"), subscription("A.b", "https://a.example.com"), subscription("-", "https://a.example.com")), []string{"[1].name: \"a\" is there twice", "[2].name", "[3].name"}},
		{"a private address", list(subscription("crm", "http://169.254.169.254")), []string{"[0].url: refused 169.254.169.254"}},
		{"a scheme", list(subscription("crm", "ftp://crm.example.com")), []string{"[0].url", "ftp"}},
		{"no address", list(subscription("crm", "::canary")), []string{"[0].url"}},
		{"a port", list(subscription("crm", "https://crm.example.com:8443")), []string{"port 8443"}},
		{"types", list(subscription("crm", "https://crm.example.com", `"types":["export.done","export*"]`)), []string{`[0].types: "export*"`}},
		{"an empty type", list(subscription("crm", "https://crm.example.com", `"types":[""]`)), []string{`[0].types: ""`}},
		{"a short secret", list(subscription("crm", "https://crm.example.com", `"secrets":["env:SECRET","whsec_Y2FuYXJ5"]`)), []string{"[0].secrets: secret 2 of 2: 6 bytes"}},
		{"a secret that is no secret", list(subscription("crm", "https://crm.example.com", `"secrets":["canary"]`)), []string{"[0].secrets: secret 1 of 1"}},
		{"a variable that is not set", list(subscription("crm", "https://crm.example.com", `"secrets":["env:UNSET"]`)), []string{"the variable UNSET is not set, nor a file by UNSET_FILE"}},
		{"rate", list(subscription("crm", "https://crm.example.com", `"rate":-1`)), []string{"[0].rate"}},
		{"concurrency", list(subscription("crm", "https://crm.example.com", `"concurrency":257`)), []string{"[0].concurrency"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := faults(map[string]string{"XINGHE_WEBHOOKS": tc.text, "SECRET": secret, "XINGHE_ALLOW_HOSTS": "10.0.0.1:9999"})
			if (got == "") != (len(tc.want) == 0) {
				t.Errorf("faults: %s", got)
			}
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("faults: %s\nwant %s", got, want)
				}
			}
			if strings.Contains(got, "canary") || strings.Contains(got, secret) {
				t.Errorf("a secret is shown: %s", got)
			}
		})
	}
}

func TestFaultsOfTheVariables(t *testing.T) {
	t.Parallel()
	got := faults(map[string]string{
		"XINGHE_WEBHOOKS": "[]", "XINGHE_WEBHOOKS_FILE": "x", "XINGHE_WEBHOOK_RETRIES": "5s,0s,25h", "XINGHE_WEBHOOK_PORTS": "443,0",
		"XINGHE_WEBHOOK_TIMEOUT": "soon", "XINGHE_ALLOW_HOSTS": "http://x",
	})
	for _, want := range []string{
		"XINGHE_WEBHOOKS: set together with", `XINGHE_WEBHOOK_RETRIES: "0s"`, `XINGHE_WEBHOOK_RETRIES: "25h"`, `XINGHE_WEBHOOK_PORTS: "0"`,
		"XINGHE_WEBHOOK_TIMEOUT", "XINGHE_ALLOW_HOSTS",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	if got := faults(map[string]string{"XINGHE_WEBHOOKS_FILE": filepath.Join(t.TempDir(), "missing")}); !strings.Contains(got, "missing") {
		t.Errorf("a file that is missing: %q", got)
	}
	if got := faults(nil); got != "" {
		t.Errorf("nobody is subscribed: %s", got)
	}
}

// The file is read again when it changes, and so are the files of secrets that it names.
// What cannot be used changes nothing.
func TestReload(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one, two := receive(t, nil), receive(t, nil)
	folder := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	values := map[string]string{
		"XINGHE_WEBHOOKS_FILE": write("webhooks.json", list(subscription("one", one.URL, `"types":["export.*"]`))),
		"SECRET_FILE":          write("secret", secret+"\n"), "XINGHE_ALLOW_HOSTS": "127.0.0.1",
	}
	vars := env.New(func(name string) string { return values[name] })
	cfg := delivery.FromEnv(vars)
	if err := vars.Err(); err != nil {
		t.Fatal(err)
	}
	cfg.Queue = b.queue
	b.start(cfg, "one")
	b.publish("export.done", "a")
	b.arrived(one, "a")

	write("webhooks.json", `[{"name":"one"}]`)
	b.eventually(func() string {
		if log := b.logged(); !strings.Contains(log, "the former ones hold") {
			return "no complaint: " + log
		}
		return ""
	})
	b.publish("export.done", "b")
	b.arrived(one, "a", "b")

	// arrives waits until what comes is signed with a secret.
	sent := 0
	arrives := func(text string, at ...*receiver) {
		verifier, err := reference.NewWebhook(text)
		if err != nil {
			t.Fatal(err)
		}
		b.eventually(func() string {
			sent++
			b.publish("export.done", fmt.Sprintf("n%04d", sent))
			for _, rec := range at {
				all := rec.all()
				if len(all) == 0 {
					return "nothing has come"
				}
				if err := verifier.Verify(all[len(all)-1].body, all[len(all)-1].header); err != nil {
					return err.Error()
				}
			}
			return ""
		})
	}
	write("webhooks.json", list(subscription("one", one.URL, `"types":["export.*"]`)))
	write("secret", another)
	arrives(another, one)

	write("webhooks.json", list(subscription("one", one.URL, `"types":["image.*"]`), subscription("two", two.URL)))
	arrives(another, two)
	b.eventually(func() string {
		sent++
		b.publish("image.ready", fmt.Sprintf("n%04d", sent))
		for _, got := range one.all() {
			if strings.Contains(string(got.body), "image.ready") {
				return ""
			}
		}
		return "no event of a type that is new"
	})

	write("webhooks.json", `[]`)
	b.eventually(func() string {
		if log := b.logged(); !strings.Contains(log, `"webhooks":0`) {
			return "not read again: " + log
		}
		return ""
	})
}

func FuzzConfiguration(f *testing.F) {
	f.Add(list(subscription("crm", "https://crm.example.com")))
	f.Add(list(subscription("crm", "https://crm.example.com:99999", `"types":["a.*","*"]`)))
	f.Add(`[{"name":"\u0000","url":"http://[::1%25lo]/","rate":1e999}]`)
	f.Fuzz(func(t *testing.T, text string) {
		values := map[string]string{"XINGHE_WEBHOOKS": text, "SECRET": secret}
		got := faults(values)
		var rows []map[string]any
		if got == "" && strings.TrimSpace(text) != "" && json.Unmarshal([]byte(text), &rows) != nil {
			t.Errorf("taken: %q", text)
		}
		if strings.Contains(got, secret) {
			t.Errorf("a secret is shown: %s", got)
		}
	})
}
