package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"xinghe/shared/faas"
	"xinghe/testlocal/console"
	"xinghe/testlocal/runtimes"
	"xinghe/testlocal/stack"
)

// platforms are the words of --as.
var platforms = []string{faas.EntryFCWeb, faas.EntryFCEvent, faas.EntryLambdaURL, faas.EntryLambdaEvent}

// runAs runs the stack, and in the place of its front door the functions as they are built
// to be deployed, each as on its platform.
func runAs(ctx context.Context, entry string, getenv func(string) string, environ []string, stdout, stderr io.Writer) (err error) {
	if !slices.Contains(platforms, entry) {
		_, _ = fmt.Fprintf(stderr, "-as: %q is none of %s\n", entry, strings.Join(platforms, ", "))
		return errUsage
	}
	addr := cmp.Or(getenv("XINGHE_ADDR"), stack.DefaultAddr)
	cfg := stack.Config{Log: stderr, Getenv: func(name string) string {
		if name == "XINGHE_ADDR" {
			return "127.0.0.1:0" // the door takes the stack's place
		}
		return getenv(name)
	}}
	s, err := stack.Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	_, _ = fmt.Fprintln(stdout, "building the functions as they are deployed")
	door, err := runtimes.OpenDoor(ctx, runtimes.Config{
		Entry: entry, Env: ownVariables(environ, s.Variables(cfg)), Output: stderr, Initializer: true, PreStop: true,
		Report: func(r runtimes.Report) {
			if r.ErrorType != "" {
				_, _ = fmt.Fprintf(stderr, "platform: call %s failed: %s\n", r.ID, r.ErrorType)
			}
		},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, door.Close()) }()
	listener, err := faas.Listen(ctx, addr, "XINGHE_ADDR")
	if err != nil {
		return err
	}
	s.URL = "http://" + listener.Addr().String()
	console.Banner(stdout, s)
	console.Platform(stdout, entry, s.URL)
	err = faas.Serve(ctx, listener, door, 0)
	_, _ = fmt.Fprintln(stdout, "\nstopping")
	return err
}

// ownVariables are this process's variables that functions read, as NAME=value, the stack's
// own values in place of others.
func ownVariables(environ []string, set map[string]string) []string {
	var list []string
	for _, item := range environ {
		name, _, _ := strings.Cut(item, "=")
		mine := strings.HasPrefix(name, "AWS_LAMBDA_") || strings.HasPrefix(name, "FC_") || name == "XINGHE_ENTRY" || name == "XINGHE_ADDR"
		if _, replaced := set[name]; !replaced && !mine {
			list = append(list, item)
		}
	}
	for name, value := range set {
		list = append(list, name+"="+value)
	}
	return list
}
