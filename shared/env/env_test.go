package env_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/env"
)

func from(values map[string]string) *env.Vars {
	return env.New(func(name string) string { return values[name] })
}

func TestValues(t *testing.T) {
	t.Parallel()
	vars := from(map[string]string{
		"S": " text ", "U": "http://127.0.0.1:8788/", "D": "90s", "N": "7", "C": "drain", "L": "a, b,,c ", "K": "canary\n",
	})
	if got := vars.String("S", "x"); got != "text" {
		t.Errorf("String = %q", got)
	}
	if got := vars.String("UNSET", "x"); got != "x" {
		t.Errorf("String of an unset variable = %q", got)
	}
	if got := vars.URL("U", ""); got != "http://127.0.0.1:8788" {
		t.Errorf("URL = %q", got)
	}
	if got := vars.Duration("D", time.Hour); got != 90*time.Second {
		t.Errorf("Duration = %v", got)
	}
	if got := vars.Int("N", 1, 0); got != 7 {
		t.Errorf("Int = %v", got)
	}
	if got := vars.Choice("C", "cancel", "drain"); got != "drain" {
		t.Errorf("Choice = %q", got)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, vars.List("L")); diff != "" {
		t.Error(diff)
	}
	if got := vars.Secret("K"); got.Reveal() != "canary" {
		t.Error("the secret is not the variable's text")
	}
	if err := vars.Err(); err != nil {
		t.Error(err)
	}
}

func TestSecretFromFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("canary\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	vars := from(map[string]string{"K_FILE": file})
	if got := vars.Secret("K"); got.Reveal() != "canary" || vars.Err() != nil {
		t.Errorf("secret from file: %v", vars.Err())
	}
}

func TestEveryFaultIsNamed(t *testing.T) {
	t.Parallel()
	vars := from(map[string]string{
		"U": "nlp.aliyuncs.com", "D": "soon", "N": "-1", "C": "never", "K": "canary", "K_FILE": "x", "M_FILE": "/does/not/exist",
	})
	_ = fmt.Sprint(vars.URL("U", "https://x"), vars.Duration("D", 0), vars.Int("N", 0, 0), vars.Choice("C", "cancel"), vars.Secret("K"), vars.Secret("M"))
	err := vars.Err()
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, name := range []string{"U:", "D:", "N:", "C:", "K:", "M_FILE:"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named in: %v", name, err)
		}
	}
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("a secret is shown: %v", err)
	}
}
