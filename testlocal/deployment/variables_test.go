package deployment_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xinghe/testlocal/deployment"
)

// library stands for the packages of this module that programs use.
var library = map[string]string{
	"shared/env/env.go": `package env
type Vars struct{ getenv func(string) string }
func New(getenv func(string) string) *Vars { return &Vars{getenv} }
func (v *Vars) String(name, fallback string) string { return v.getenv(name) }
func (v *Vars) Secret(name string) string { return v.getenv(name) + v.getenv(name+"_FILE") }
func (v *Vars) Fault(name string, err error) {}
`,
	"shared/sink/sink.go": `package sink
func OpenS3() {}
`,
	"shared/thing/thing.go": `package thing
import ("os"; "xinghe/shared/env"; "xinghe/shared/sink"; "example.com/strange/stranger")
const name = "BY_CONSTANT"
func FromEnv(vars *env.Vars) { vars.String(name, ""); named(vars, "BY_ARGUMENT"); stranger.Do(vars) }
func named(vars *env.Vars, variable string) { again(vars, 1, variable) }
func again(vars *env.Vars, n int, variable string) { vars.Secret(variable) }
var kinds = map[string]func(*env.Vars){"a": kind}
func Pick(vars *env.Vars) { kinds["a"](vars) }
func kind(vars *env.Vars) { vars.String("BY_KIND", ""); vars.Fault("NOT_READ", nil); sink.OpenS3() }
func Other(vars *env.Vars) { vars.String("NEVER_CALLED", "") }
func Platform() string { return os.Getenv("BY_SYSTEM") }
func Unknown(vars *env.Vars) { for _, n := range []string{"A"} { vars.String(n, "") } }
`,
}

func program(t *testing.T, body string) (deployment.Program, error) {
	t.Helper()
	folder := t.TempDir()
	files := map[string]string{"functions/x/main.go": `package main
import ("os"; "xinghe/shared/env"; "xinghe/shared/thing")
func main() { build(env.New(os.Getenv)) }
func build(vars *env.Vars) { ` + body + ` }
`}
	for _, all := range []map[string]string{library, files} {
		for name, text := range all {
			path := filepath.Join(folder, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	programs, err := deployment.ReadCode(folder, "functions")
	return programs["x"], err
}

func TestVariablesOfAProgram(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, body string
		want       []string
		secrets    map[string]bool
		bucket     bool
	}{
		{"by constants and arguments", `thing.FromEnv(vars)`, []string{"BY_ARGUMENT", "BY_CONSTANT"}, map[string]bool{"BY_ARGUMENT": true}, false},
		{"by a table of functions", `thing.Pick(vars)`, []string{"BY_KIND"}, map[string]bool{}, true},
		{"by the system", `thing.Platform()`, []string{"BY_SYSTEM"}, map[string]bool{}, false},
		{"in both branches", `if vars.String("A", "") == "" { vars.Secret("B") }`, []string{"A", "B"}, map[string]bool{"B": true}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := program(t, tc.body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got.Names()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tc.secrets, got.Secrets); diff != "" {
				t.Error(diff)
			}
			if got.Bucket != tc.bucket {
				t.Errorf("bucket %v", got.Bucket)
			}
		})
	}
	got, err := program(t, `vars.String("A", "")`)
	if err != nil || !slices.Equal(got.Variables["A"], []string{"functions/x/main.go:4"}) {
		t.Errorf("A is read at %q, %v", got.Variables["A"], err)
	}
}

func TestVariablesThatCannotBeTold(t *testing.T) {
	t.Parallel()
	got, err := program(t, `thing.Unknown(vars)`)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"shared/thing/thing.go:12"}, got.Open); diff != "" {
		t.Error(diff)
	}
	if _, err := deployment.ReadCode(t.TempDir(), "functions"); err == nil {
		t.Error("a folder without programs is taken")
	}
}
