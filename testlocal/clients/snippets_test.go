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

// pages are where the snippets stand.
var pages = []string{"clients.md", "inbound-webhooks.md"}

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

// TestSnippets runs the commands and the Node programs of the pages as they stand there, but
// for the addresses. Each prints what its page says.
func TestSnippets(t *testing.T) {
	t.Parallel()
	ran := map[string]int{}
	s := start(t)
	if s.Key != "local-dev" {
		t.Fatalf("the pages have another key than %q", s.Key)
	}
	for _, page := range pages {
		runPage(t, s, page, ran)
	}
	if ran["sh"] == 0 || ran["js"] == 0 {
		t.Errorf("the pages have %v", ran)
	}
}

func runPage(t *testing.T, s *stack.Stack, page string, ran map[string]int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../docs", page))
	if err != nil {
		t.Fatal(err)
	}
	for _, snippet := range snippets(string(text)) {
		runner := map[string]func(*testing.T, *stack.Stack, string) string{"sh": shell, "js": node}[snippet.kind]
		if runner == nil {
			continue
		}
		ran[snippet.kind]++
		t.Run(fmt.Sprintf("%s, %s in line %d", page, snippet.kind, snippet.line), func(t *testing.T) {
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
}

func shell(t *testing.T, s *stack.Stack, program string) string {
	t.Helper()
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%v", err)
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
