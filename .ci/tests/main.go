// Reads what `go test -json` prints, and prints what `go test` would, and each test that was
// skipped with its reason. It fails if a test has failed or if one was skipped that
// .ci/skips.txt does not know; and also if what stands there was not skipped, or the test did
// not pass that covers the same in small, so that no set of tests can go missing unseen.
//
//	go test -json ./... | go run ./.ci/tests .ci/skips.txt
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// event is a line of `go test -json`.
type event struct {
	Action, Package, ImportPath, Test, Output string
	Elapsed                                   float64
}

// name of a test in its package; "" as Test is the package itself.
type name struct{ pkg, test string }

func main() {
	expected, err := readSkips(os.Args[1])
	if err == nil {
		err = report(os.Stdin, os.Stdout, expected)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// readSkips reads lines of a package, a test that the gate skips, and the test that covers
// the same in small. A line that begins with # is a comment.
func readSkips(path string) (map[name]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	expected := map[name]string{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || fields[0] == "#":
		case len(fields) != 3:
			return nil, fmt.Errorf("%s: want a package and two tests: %q", path, line)
		default:
			expected[name{fields[0], fields[1]}] = fields[2]
		}
	}
	return expected, nil
}

func report(in io.Reader, out io.Writer, expected map[name]string) error {
	output, became := map[name][]string{}, map[name]string{}
	var skipped []name
	var faults []string
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		var e event
		if json.Unmarshal(line, &e) != nil {
			fmt.Fprintf(out, "%s", line) // of the go command itself
			continue
		}
		n := name{e.Package, e.Test}
		switch e.Action {
		case "build-output":
			fmt.Fprint(out, e.Output)
		case "output":
			output[n] = append(output[n], e.Output)
		case "pass", "fail", "skip":
			became[n] = e.Action
			switch {
			case e.Action == "fail":
				fmt.Fprint(out, strings.Join(output[n], ""))
				faults = append(faults, "FAIL "+e.Package+" "+e.Test)
			case e.Test == "" && e.Action == "pass":
				fmt.Fprintf(out, "ok   %s %.1fs\n", e.Package, e.Elapsed)
			case e.Test != "" && e.Action == "skip":
				skipped = append(skipped, n)
			}
		}
	}
	for _, n := range skipped {
		reason := reasonOf(output[n])
		fmt.Fprintf(out, "skip %s %s: %s\n", n.pkg, n.test, reason)
		if reason == "" {
			faults = append(faults, fmt.Sprintf("%s %s is skipped without a reason", n.pkg, n.test))
		}
		if expected[n] == "" {
			faults = append(faults, fmt.Sprintf("%s %s is skipped, which .ci/skips.txt does not know", n.pkg, n.test))
		}
	}
	for n, small := range expected {
		if became[n] != "skip" {
			faults = append(faults, fmt.Sprintf("%s %s stands in .ci/skips.txt, but was not skipped: %q", n.pkg, n.test, became[n]))
		}
		if got := became[name{n.pkg, small}]; got != "pass" {
			faults = append(faults, fmt.Sprintf("%s %s, which covers %s in small, did not pass: %q", n.pkg, small, n.test, got))
		}
	}
	if len(became) == 0 {
		faults = append(faults, "no test has run")
	}
	if len(faults) > 0 {
		slices.Sort(faults)
		return fmt.Errorf("%s", strings.Join(faults, "\n"))
	}
	return nil
}

// reasonOf is what a skipped test said last, without the place in the source.
func reasonOf(output []string) string {
	for _, line := range slices.Backward(output) {
		line = strings.TrimSpace(line)
		if _, reason, ok := strings.Cut(line, ".go:"); ok {
			_, reason, _ = strings.Cut(reason, ": ")
			return strings.TrimSpace(reason)
		}
	}
	return ""
}
