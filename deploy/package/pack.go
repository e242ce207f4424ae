package main

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// executable is what the platforms look for in the zip.
const executable = "bootstrap"

// modified is the time that every file of a zip has. Zip knows none before 1980.
var modified = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// pack builds a function's source and zips it to path. It returns the zip's SHA-256 in
// hex and its size in bytes.
func pack(ctx context.Context, t target, source, path string, stderr io.Writer) (sum string, size int64, err error) {
	folder, err := os.MkdirTemp("", "xinghe-package-")
	if err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	binary := filepath.Join(folder, executable)
	if err := build(ctx, t, source, binary, stderr); err != nil {
		return "", 0, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // a folder of build results
		return "", 0, err
	}
	file, err := os.Create(path)
	if err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return compress(file, binary)
}

// build makes the executable: small, and the same wherever it is built. The tag leaves out
// of Lambda's library what only its former runtime needed.
func build(ctx context.Context, t target, source, binary string, stderr io.Writer) error {
	cmd := exec.CommandContext(ctx, "go", "build", //nolint:gosec // the arguments are ours
		"-tags", "lambda.norpc", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=", "-o", binary, source)
	cmd.Env = append(cmd.Environ(), "GOOS=linux", "GOARCH="+t.arch, "CGO_ENABLED=0", "GOFLAGS=", "GOAMD64=v1", "GOARM64=v8.0")
	cmd.Stderr = stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	return nil
}

// compress writes a zip that holds the executable and nothing of where and when it was made.
func compress(file io.Writer, binary string) (sum string, size int64, err error) {
	digest := sha256.New()
	counted := &counter{}
	archive := zip.NewWriter(io.MultiWriter(file, digest, counted))
	header := &zip.FileHeader{Name: executable, Method: zip.Deflate, Modified: modified}
	header.SetMode(0o755)
	entry, err := archive.CreateHeader(header)
	if err != nil {
		return "", 0, err
	}
	content, err := os.Open(binary)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = content.Close() }()
	if _, err = io.Copy(entry, content); err != nil {
		return "", 0, err
	}
	if err := archive.Close(); err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(digest.Sum(nil)), counted.bytes, nil
}

type counter struct{ bytes int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.bytes += int64(len(p))
	return len(p), nil
}
