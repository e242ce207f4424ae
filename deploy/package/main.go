// Package makes the zips that s.yaml and template.yaml name: each function built for
// Function Compute (x86_64) and for Lambda (arm64), as one executable that both platforms
// start.
//
//	go run ./deploy/package             build into dist/
//	go run ./deploy/package -check      build twice, and fail if the zips differ
//	go run ./deploy/package chat        build only that function
//
// The same sources and the same Go make the same bytes, on any machine and in any folder.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// target is a platform that functions are built for.
type target struct{ name, arch string }

// targets are those that s.yaml and template.yaml ask for: Function Compute runs Go on
// x86_64 only, and on Lambda arm64 is cheaper.
var targets = []target{{"fc", "amd64"}, {"lambda", "arm64"}}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("package", flag.ContinueOnError)
	flags.SetOutput(stderr)
	out := flags.String("out", "dist", "folder that the zips go to, below it fc/ and lambda/")
	check := flags.Bool("check", false, "build twice, and fail if the zips differ")
	if err := flags.Parse(args); err != nil {
		return err
	}
	names, err := functions("functions", flags.Args())
	if err != nil {
		return err
	}
	for _, t := range targets {
		for _, name := range names {
			path := filepath.Join(*out, t.name, name+".zip")
			sum, size, err := pack(ctx, t, "./functions/"+name, path, stderr)
			if err != nil {
				return fmt.Errorf("package %s for %s: %w", name, t.name, err)
			}
			_, _ = fmt.Fprintf(stdout, "%s  %s  %d bytes, %s\n", sum, path, size, t.arch)
			if *check {
				if err := again(ctx, t, "./functions/"+name, sum, stderr); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// functions lists the folders that hold a function, or checks those that are asked for.
func functions(folder string, wanted []string) ([]string, error) {
	mains, err := filepath.Glob(filepath.Join(folder, "*", "main.go"))
	if err != nil || len(mains) == 0 {
		return nil, cmp.Or(err, errors.New("no functions here: run it in the root of the repository"))
	}
	names := make([]string, len(mains))
	for i, path := range mains {
		names[i] = filepath.Base(filepath.Dir(path))
	}
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("%q is no function: there are %s", name, strings.Join(names, ", "))
		}
	}
	if len(wanted) > 0 {
		return wanted, nil
	}
	return names, nil
}

// again builds once more, elsewhere, and compares.
func again(ctx context.Context, t target, source, sum string, stderr io.Writer) error {
	folder, err := os.MkdirTemp("", "xinghe-package-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	second, _, err := pack(ctx, t, source, filepath.Join(folder, "again.zip"), stderr)
	if err == nil && second != sum {
		err = fmt.Errorf("%s for %s is not reproducible: first %s, then %s", source, t.name, sum, second)
	}
	return err
}
