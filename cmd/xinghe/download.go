package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"xinghe/shared/jobs"
)

func newDownloadCommand(c *client) *cobra.Command {
	return &cobra.Command{
		Use: "download ID FOLDER", Short: "Copy the files of an export into a folder, checked against its manifest", Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := c.fetchManifest(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer m.close()
			return c.fetchParts(cmd.Context(), cmd.OutOrStdout(), args[0], m, args[1])
		},
	}
}

// fetchParts copies all parts, and then the manifest, each of which appears whole or not at
// all. Their names are printed.
func (c *client) fetchParts(ctx context.Context, out io.Writer, id string, m *manifest, folder string) error {
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return fmt.Errorf("open the folder: %w", err)
	}
	defer func() { _ = root.Close() }()
	below := jobs.Export{ID: id, Spec: m.head.Spec}.Folder() + "/"
	for part, err := range entries[jobs.Part](m, "parts") {
		if err != nil {
			return err
		}
		files := []jobs.IndexFile{{Path: part.Path, SHA256: part.SHA256}}
		if part.Index != nil {
			files = append(files, *part.Index)
		}
		for _, file := range files {
			name := strings.TrimPrefix(file.Path, below)
			err = c.patiently(ctx, func() error {
				return place(root, name, file.SHA256, func(to io.Writer) error { return c.download(ctx, id, file.Path, to) })
			})
			if err != nil {
				return fmt.Errorf("copy part %s: %w", file.Path, err)
			}
			if _, err := fmt.Fprintln(out, name); err != nil {
				return err
			}
		}
	}
	return place(root, "manifest.json", m.sha256, func(to io.Writer) error {
		_, err := io.Copy(to, io.NewSectionReader(m.file, 0, 1<<62))
		return err
	})
}

// place writes a file that must have the checksum.
func place(root *os.Root, name, sum string, write func(io.Writer) error) error {
	if err := root.MkdirAll(path.Dir(name), 0o750); err != nil {
		return lasting(err)
	}
	draft := name + ".download"
	file, err := root.OpenFile(draft, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return lasting(err)
	}
	hash := sha256.New()
	err = errors.Join(write(io.MultiWriter(file, hash)), file.Close())
	if got := hex.EncodeToString(hash.Sum(nil)); err == nil && got != sum {
		err = lasting(fmt.Errorf("its SHA-256 is %s, the manifest says %s", got, sum))
	}
	if err == nil {
		err = lasting(root.Rename(draft, name))
	}
	if err != nil {
		_ = root.Remove(draft)
	}
	return err
}
