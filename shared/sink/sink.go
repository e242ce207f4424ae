// Package sink is where files go: a folder, or a bucket of OSS or of a service that speaks
// S3. A file appears whole or not at all, and what a writer leaves behind that was killed is swept.
//
//	to, err := sink.NewFolder("/data/exports")
//	w, err := to.Create(ctx, "nightly/part-0.jsonl")
//	defer w.Abort() // does nothing after Commit
//	_, err = w.Write(data)
//	err = w.Commit()
//
// Paths are relative, separated by slashes, and stay below the sink's root. A file that is
// written again replaces the one before. It knows nothing of formats, and retries nothing
// but what the clients of S3 and OSS retry by themselves.
package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// The kinds of sinks, as [Sink.Kind] and jobs name them.
const (
	KindFolder = "folder"
	KindS3     = "s3"
	KindOSS    = "oss"
)

// Sink keeps files. It is safe for concurrent use, and needs no closing.
//
// Errors: [ErrNotFound], [ErrInvalid], the context's, and [*Error] for all others.
type Sink interface {
	// Kind is [KindFolder], [KindS3] or [KindOSS].
	Kind() string
	// Create begins a file. The context bounds the writing as a whole.
	Create(ctx context.Context, path string) (Writer, error)
	// Open reads a file; the caller closes it. The context bounds the reading as a whole.
	Open(ctx context.Context, path string) (*File, error)
	// Stat tells of a file without reading it.
	Stat(ctx context.Context, path string) (Info, error)
	// List yields the files of a folder and of those below it; none if there is no such
	// folder. An error ends the loop.
	List(ctx context.Context, folder string) iter.Seq2[Info, error]
	// Delete removes a file; one that is not there is no error.
	Delete(ctx context.Context, path string) error
	// Sweep removes what writers of a folder's files have left that neither committed nor
	// aborted. Whoever still writes there fails.
	Sweep(ctx context.Context, folder string) error
}

// Writer writes one file. It is for one goroutine.
type Writer interface {
	io.Writer
	// Commit makes the file appear; when it returns nil the file is durable. The file does
	// not appear if it fails, or if a Write has failed.
	Commit() error
	// Abort leaves no trace of the file. It does nothing after Commit, and may be called
	// more than once.
	Abort()
}

// Info is what is known of a file.
type Info struct {
	// Path below the sink's root.
	Path string
	// Size in bytes.
	Size     int64
	Modified time.Time
}

// File is an open file. Its ReadCloser is an [io.Seeker] too if the sink is a folder.
type File struct {
	io.ReadCloser
	Info
}

var (
	// ErrNotFound means that there is no such file.
	ErrNotFound = errors.New("no such file")
	// ErrInvalid means that a path is not one, or leaves the sink.
	ErrInvalid = errors.New("not a path below the sink")
	// ErrFull means that there is no room left.
	ErrFull = errors.New("no space left")
	// ErrDenied means that the sink refuses our credentials or rights.
	ErrDenied = errors.New("access denied")
	// ErrGone means that the folder or bucket itself is not there.
	ErrGone = errors.New("the folder or bucket does not exist")
)

// Error says that the sink failed, not the one who asked: the same may succeed later, if
// only after somebody has made room, or given rights back.
type Error struct {
	Op, Path string
	// Reason is [ErrFull], [ErrDenied], [ErrGone], or nil if it is none of them.
	Reason error
	// Err is the cause.
	Err error
}

func (e *Error) Error() string {
	if e.Reason != nil {
		return fmt.Sprintf("%s %s: %v: %v", e.Op, e.Path, e.Reason, e.Err)
	}
	return fmt.Sprintf("%s %s: %v", e.Op, e.Path, e.Err)
}

// Unwrap gives the reason and the cause.
func (e *Error) Unwrap() []error {
	if e.Reason != nil {
		return []error{e.Reason, e.Err}
	}
	return []error{e.Err}
}

// draftSuffix ends the names of files that are being written in a folder.
const draftSuffix = ".draft"

func isDraft(name string) bool {
	base := path.Base(name)
	return strings.HasPrefix(base, ".") && strings.HasSuffix(base, draftSuffix)
}

// check refuses what is no path of a file.
func check(op, name string) error {
	if !filepath.IsLocal(name) || path.Clean(name) != name || name == "." || strings.ContainsAny(name, "\\\x00") || isDraft(name) {
		return fmt.Errorf("%s %q: %w", op, name, ErrInvalid)
	}
	return nil
}
