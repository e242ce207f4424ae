package sink

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"sync/atomic"
	"syscall"

	"github.com/oklog/ulid/v2"
)

// Folder keeps files in a folder of the machine. A file is written as a draft, brought to
// the disk, and renamed.
type Folder struct {
	root string
	made atomic.Bool
}

// NewFolder returns the folder. It does not touch the disk: the folder is made by the first
// Create. If it vanishes after that it is not made again, as there may be a disk missing.
func NewFolder(root string) (*Folder, error) {
	if root == "" {
		return nil, errors.New("folder: no path")
	}
	return &Folder{root: root}, nil
}

// Kind is [KindFolder].
func (f *Folder) Kind() string { return KindFolder }

// open opens the root anew each time, so that a folder that was away is found again.
func (f *Folder) open() (*os.Root, error) { return os.OpenRoot(f.root) }

// Create implements [Sink].
func (f *Folder) Create(ctx context.Context, name string) (Writer, error) {
	if err := check("create", name); err != nil {
		return nil, err
	}
	if !f.made.Load() {
		if err := os.MkdirAll(f.root, 0o750); err != nil {
			return nil, folderError("create", name, err)
		}
		f.made.Store(true)
	}
	root, err := f.open()
	if err != nil {
		return nil, folderError("create", name, err)
	}
	w := &folderWriter{ctx: ctx, root: root, name: name}
	// Two processes may write the same file at once: each has a draft of its own.
	w.draft = path.Join(path.Dir(name), "."+path.Base(name)+"."+ulid.Make().String()+draftSuffix)
	err = root.MkdirAll(path.Dir(name), 0o750)
	if err == nil {
		w.file, err = root.OpenFile(w.draft, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	}
	if err != nil {
		_ = root.Close()
		return nil, folderError("create", name, err)
	}
	return w, nil
}

// Open implements [Sink].
func (f *Folder) Open(ctx context.Context, name string) (*File, error) {
	if err := errors.Join(ctx.Err(), check("open", name)); err != nil {
		return nil, err
	}
	root, err := f.open()
	if err != nil {
		return nil, missing("open", name, err)
	}
	defer func() { _ = root.Close() }()
	file, err := root.Open(name)
	if err != nil {
		return nil, missing("open", name, err)
	}
	stat, err := file.Stat()
	if err != nil || stat.IsDir() {
		_ = file.Close()
		return nil, missing("open", name, errors.Join(err, fs.ErrNotExist))
	}
	return &File{ReadCloser: file, Info: Info{Path: name, Size: stat.Size(), Modified: stat.ModTime()}}, nil
}

// Stat implements [Sink].
func (f *Folder) Stat(ctx context.Context, name string) (Info, error) {
	file, err := f.Open(ctx, name)
	if err != nil {
		return Info{}, err
	}
	return file.Info, file.Close()
}

// List implements [Sink]; the files come sorted within each folder.
func (f *Folder) List(ctx context.Context, folder string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		err := f.walk(ctx, folder, func(_ *os.Root, name string, entry fs.DirEntry) error {
			if isDraft(name) {
				return nil
			}
			stat, err := entry.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil // deleted meanwhile
			}
			if err != nil {
				return folderError("list", name, err)
			}
			if !yield(Info{Path: name, Size: stat.Size(), Modified: stat.ModTime()}, nil) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield(Info{}, err)
		}
	}
}

// Delete implements [Sink].
func (f *Folder) Delete(ctx context.Context, name string) error {
	if err := errors.Join(ctx.Err(), check("delete", name)); err != nil {
		return err
	}
	root, err := f.open()
	if err == nil {
		defer func() { _ = root.Close() }()
		err = root.Remove(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return folderError("delete", name, err)
}

// Sweep implements [Sink].
func (f *Folder) Sweep(ctx context.Context, folder string) error {
	return f.walk(ctx, folder, func(root *os.Root, name string, _ fs.DirEntry) error {
		if !isDraft(name) {
			return nil
		}
		if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return folderError("sweep", name, err)
		}
		return nil
	})
}

// walk calls each with all that is no folder below one.
func (f *Folder) walk(ctx context.Context, folder string, each func(*os.Root, string, fs.DirEntry) error) error {
	if err := check("list", path.Join(folder, "x")); err != nil {
		return err
	}
	root, err := f.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return folderError("list", folder, err)
	}
	defer func() { _ = root.Close() }()
	return fs.WalkDir(root.FS(), path.Clean(folder), func(name string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return folderError("list", name, err)
		case entry.IsDir():
			return nil
		}
		return each(root, name, entry)
	})
}

// folderWriter writes a draft.
type folderWriter struct {
	ctx         context.Context //nolint:containedctx // the writing as a whole is one call
	root        *os.Root
	file        *os.File
	name, draft string
	failed      error
	ended       bool
}

func (w *folderWriter) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.file.Write(p)
	if err != nil {
		w.failed = folderError("write", w.name, err)
	}
	return n, w.failed
}

func (w *folderWriter) Commit() error {
	if w.ended {
		return fmt.Errorf("commit %s: %w", w.name, fs.ErrClosed)
	}
	err := errors.Join(w.ctx.Err(), w.failed)
	if err == nil {
		err = w.file.Sync()
	}
	if err == nil {
		err = w.root.Rename(w.draft, w.name)
	}
	if err != nil {
		w.Abort()
		return folderError("write", w.name, err)
	}
	w.ended = true
	err = errors.Join(w.syncFolders(), w.file.Close(), w.root.Close())
	return folderError("write", w.name, err)
}

// syncFolders makes the rename durable, and the folders that were made for it.
func (w *folderWriter) syncFolders() error {
	for folder := path.Dir(w.name); ; folder = path.Dir(folder) {
		dir, err := w.root.Open(folder)
		if err != nil {
			return err
		}
		if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
			return err
		}
		if folder == "." {
			return nil
		}
	}
}

func (w *folderWriter) Abort() {
	if w.ended {
		return
	}
	w.ended = true
	_ = w.file.Close()
	_ = w.root.Remove(w.draft)
	_ = w.root.Close()
}

// missing is folderError for reading, where a folder that is not there holds no files.
func missing(op, name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("%s %s: %w", op, name, ErrNotFound)
	}
	return folderError(op, name, err)
}

func folderError(op, name string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	failure := &Error{Op: op, Path: name, Err: cause(err)}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		failure.Reason = ErrFull
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		failure.Reason = ErrDenied
	case errors.Is(err, fs.ErrNotExist):
		failure.Reason = ErrGone
	}
	return failure
}

// cause leaves the paths of this machine out of an error's text.
func cause(err error) error {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return failed.Err
	}
	if failed, ok := errors.AsType[*os.LinkError](err); ok {
		return failed.Err
	}
	return err
}
