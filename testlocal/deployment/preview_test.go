package deployment_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// shell is what whoever deploys must set.
var shell = map[string]string{
	"XINGHE_API_KEYS":  `[{"name":"ci","sha256":"00","scopes":["chat"],"rps":10}]`,
	"XINGCHEN_API_KEY": "a&b<c>#d", "XINGHE_SINK": "s3://bucket/prefix", "XINGHE_WEBHOOK_SOURCES": "[]",
	"NATS_URL_CHAT": "tls://one", "NATS_URL_CHARACTER": "tls://two", "NATS_URL_WEBHOOK": "tls://three", "NATS_URL_HISTORY_EXPORT": "tls://four",
}

// preview runs "s preview" with what the shell has set.
func preview(t *testing.T, set map[string]string) (output []byte, fault string, err error) {
	t.Helper()
	tool, err := filepath.Abs("node_modules/.bin/s")
	if err == nil {
		_, err = os.Stat(tool)
	}
	if err != nil {
		t.Skipf("run npm install in testlocal/deployment first: %v", err)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skipf("node does not run: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), tool, "preview", "-t", "s.yaml", "-o", "json", "--silent")
	cmd.Dir = t.TempDir() // where there is no file .env
	if err := os.WriteFile(filepath.Join(cmd.Dir, "s.yaml"), []byte(read(t, fc)), 0o600); err != nil {
		t.Fatal(err)
	}
	home, err := os.MkdirTemp("", "xinghe-deployment-") //nolint:usetesting // the tool leaves a process that may still write there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	cmd.Env = []string{"HOME=" + home, "PATH=" + filepath.Dir(node) + ":/usr/bin:/bin"}
	for name, value := range set {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	return stdout.Bytes(), stdout.String() + stderr.String(), err
}

func TestServerlessDevsReadsTheFile(t *testing.T) {
	t.Parallel()
	output, fault, err := preview(t, shell)
	if err != nil {
		t.Fatalf("s preview: %v\n%s", err, fault)
	}
	var file struct {
		Resources map[string]struct {
			Props struct {
				Environment map[string]string `json:"environmentVariables"`
			} `json:"props"`
		} `json:"resources"`
	}
	if err := json.Unmarshal(output, &file); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	if len(file.Resources) != 5 {
		t.Errorf("%d functions, want 5", len(file.Resources))
	}
	if bytes.Contains(output, []byte("${")) {
		t.Errorf("something is left open:\n%s", output)
	}
	chat := file.Resources["chat"].Props.Environment
	for name, want := range map[string]string{
		"XINGHE_ENTRY": "fc-web", "XINGCHEN_API_KEY": shell["XINGCHEN_API_KEY"], "XINGHE_API_KEYS": shell["XINGHE_API_KEYS"],
		"NATS_URL": "tls://one", "XINGCHEN_RPS": "0", "BEEBOT_AGENT_KEY": "", "XINGHE_EVENT_TEXT": "false",
	} {
		if got, ok := chat[name]; !ok || got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestServerlessDevsNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	if _, fault, err := preview(t, map[string]string{"XINGHE_SINK": "s3://bucket/prefix"}); err == nil || !strings.Contains(fault, "env('XINGHE_API_KEYS') not found") {
		t.Errorf("s preview without variables: %v\n%s", err, fault)
	}
}
