package clients_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"xinghe/testlocal/stack"
)

// page is where the snippets stand.
const page = "../../docs/clients.md"

// snippet is a program of the page, and what it must print: each of these lines, somewhere.
type snippet struct {
	line   int
	kind   string
	text   string
	prints []string
}

// snippets takes the fenced blocks out of a page. One of the kind "text" belongs to the block
// before it.
func snippets(page string) []snippet {
	var list []snippet
	var open *snippet
	for i, line := range strings.Split(page, "\n") {
		kind, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && open == nil:
			open = &snippet{line: i + 1, kind: kind}
		case fence && open.kind == "text":
			last := &list[len(list)-1]
			last.prints, open = strings.Split(strings.TrimSpace(open.text), "\n"), nil
		case fence:
			list, open = append(list, *open), nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	return list
}

// TestSnippets runs the commands and the Node programs of the page as they stand there, but
// for the addresses. Each prints what the page says.
func TestSnippets(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t)
	if s.Key != "local-dev" {
		t.Fatalf("the page has another key than %q", s.Key)
	}
	ran := map[string]int{}
	for _, snippet := range snippets(string(text)) {
		runner := map[string]func(*testing.T, *stack.Stack, string) string{"sh": shell, "js": node}[snippet.kind]
		if runner == nil {
			continue
		}
		ran[snippet.kind]++
		t.Run(fmt.Sprintf("%s in line %d", snippet.kind, snippet.line), func(t *testing.T) {
			program := strings.ReplaceAll(snippet.text, "http://127.0.0.1:8787", s.URL)
			out := runner(t, s, program)
			if strings.TrimSpace(out) == "" {
				t.Error("it prints nothing")
			}
			for _, want := range snippet.prints {
				if !strings.Contains(out, want) {
					t.Errorf("%q is not in\n%s", want, out)
				}
			}
		})
	}
	if ran["sh"] == 0 || ran["js"] == 0 {
		t.Errorf("the page has %v", ran)
	}
}

func shell(t *testing.T, s *stack.Stack, program string) string {
	t.Helper()
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			lack(t, "%v", err)
		}
	}
	return run(t, s, t.TempDir(), "bash", "-euo", "pipefail", "-c", program)
}

// node runs a program in a folder of its own, which has the same packages.
func node(t *testing.T, s *stack.Stack, program string) string {
	t.Helper()
	needNode(t)
	folder := t.TempDir()
	packages, err := filepath.Abs("node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(packages, filepath.Join(folder, "node_modules")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "snippet.mjs")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	return run(t, s, folder, "node", file)
}
