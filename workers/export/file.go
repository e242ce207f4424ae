package export

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/oklog/ulid/v2"
)

const draftSuffix = ".draft"

// file is written under a name of its own and appears under its true one when it is whole
// and on the disk.
type file struct {
	root  *os.Root
	place string // where it appears
	draft string // where it is written
	out   *os.File
	sum   hash.Hash
	to    io.Writer
	bytes int64
}

// create begins a file; its folders are made.
func create(root *os.Root, place string) (*file, error) {
	if err := root.MkdirAll(path.Dir(place), 0o750); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	// Two workers may write the same file at once, if one was given up too early.
	draft := path.Join(path.Dir(place), "."+path.Base(place)+"."+ulid.Make().String()+draftSuffix)
	out, err := root.OpenFile(draft, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, fmt.Errorf("create file: %w", err)
	}
	f := &file{root: root, place: place, draft: draft, out: out, sum: sha256.New()}
	f.to = io.MultiWriter(out, f.sum)
	return f, nil
}

func (f *file) Write(p []byte) (int, error) {
	n, err := f.to.Write(p)
	f.bytes += int64(n)
	return n, err
}

func (f *file) sha256() string { return hex.EncodeToString(f.sum.Sum(nil)) }

// commit makes the file appear.
func (f *file) commit() error {
	err := errors.Join(f.out.Sync(), f.out.Close())
	if err == nil {
		err = f.root.Rename(f.draft, f.place)
	}
	if err != nil {
		_ = f.root.Remove(f.draft)
		return fmt.Errorf("finish file %s: %w", f.place, err)
	}
	return nil
}

// abandon leaves no trace of the file.
func (f *file) abandon() {
	_ = f.out.Close()
	_ = f.root.Remove(f.draft)
}

// sweep removes what workers that were killed have left of a folder's files.
func sweep(root *os.Root, folder string) error {
	entries, err := fs.ReadDir(root.FS(), folder)
	if err != nil {
		return fmt.Errorf("sweep %s: %w", folder, err)
	}
	for _, entry := range entries {
		if name := entry.Name(); strings.HasPrefix(name, ".") && strings.HasSuffix(name, draftSuffix) {
			err = errors.Join(err, root.Remove(path.Join(folder, name)))
		}
	}
	return err
}
