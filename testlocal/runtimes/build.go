package runtimes

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path"
	"path/filepath"
)

// buildFlags are those by which the packages that are deployed are built.
var buildFlags = []string{"-trimpath", "-ldflags=-s -w", "-tags=lambda.norpc"}

// Build builds programs for this machine as they are built to be deployed, into a folder
// that exists, and returns their paths by the last parts of their packages' names. It needs
// the go command, in a folder of this module.
func Build(ctx context.Context, folder string, packages ...string) (map[string]string, error) {
	arguments := append([]string{"build", "-o", folder + string(filepath.Separator)}, buildFlags...)
	command := exec.CommandContext(ctx, "go", append(arguments, packages...)...) //nolint:gosec // the packages are named in the code
	command.Env = append(command.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build: %w\n%s", err, bytes.TrimSpace(out))
	}
	programs := map[string]string{}
	for _, name := range packages {
		programs[path.Base(name)] = filepath.Join(folder, path.Base(name))
	}
	return programs, nil
}
