package deployment_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// languages of the page about operations.
var languages = []string{"docs/operations.md", "docs/operations.zh-CN.md"}

// platforms begin, or are, variables that platforms set, or the system.
var platforms = regexp.MustCompile(`^(AWS_LAMBDA_|FC_|HOME$|XDG_CONFIG_HOME$|NATS_URL_FILE$)`)

var (
	variableRow = regexp.MustCompile("(?m)^\\| ((?:`[A-Z][A-Z0-9_]+`(?: S)?(?:, )?)+) \\| ([a-z, -]+) \\|")
	quoted      = regexp.MustCompile("`([A-Z][A-Z0-9_]+)`")
)

// TestVariablesAreDocumented wants a row for each variable, with those that read it.
func TestVariablesAreDocumented(t *testing.T) {
	t.Parallel()
	code := functions(t)
	code["workers"] = workers(t)
	want := map[string]string{}
	for _, name := range []string{"chat", "character", "webhook", "history-export", "workers"} {
		for _, variable := range code[name].Names() {
			if !platforms.MatchString(variable) {
				want[variable] = strings.TrimPrefix(want[variable]+", "+name, ", ")
			}
		}
	}
	for _, page := range languages {
		got := map[string]string{}
		for _, row := range variableRow.FindAllStringSubmatch(read(t, page), -1) {
			for _, name := range quoted.FindAllStringSubmatch(row[1], -1) {
				got[name[1]] = row[2]
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", page, diff)
		}
	}
}

var (
	bucketName = regexp.MustCompile(`= "(xinghe_[a-z_]+)"`)
	streamName = regexp.MustCompile(`= "(XINGHE_[A-Z]+)"`)
)

// TestTopologyIsDocumented wants each stream and bucket of the code in the page and among
// the permissions.
func TestTopologyIsDocumented(t *testing.T) {
	t.Parallel()
	pages := append([]string{"deploy/nats.conf"}, languages...)
	for _, folder := range []string{"shared", "functions", "workers"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			names := bucketName.FindAllSubmatch(text, -1)
			if strings.Contains(filepath.ToSlash(path), "shared/queue/") {
				names = append(names, streamName.FindAllSubmatch(text, -1)...)
			}
			for _, name := range names {
				for _, page := range pages {
					if !strings.Contains(read(t, page), string(name[1])) {
						t.Errorf("%s does not know %s of %s", page, name[1], path)
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
