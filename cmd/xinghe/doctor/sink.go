package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"

	"xinghe/shared/env"
	"xinghe/shared/jobs"
	"xinghe/shared/sink"
	"xinghe/shared/sink/chain"
)

// configuredSink is what XINGHE_SINK names, nil if it is not set or will not do. Nothing is
// opened yet.
func configuredSink(ctx context.Context, vars *env.Vars) sink.Sink {
	text := vars.String("XINGHE_SINK", "")
	if text == "" {
		return nil
	}
	kind, rest, found := strings.Cut(text, "://")
	if found && slices.Contains(jobs.Sinks, kind) && (rest == "" || strings.HasPrefix(rest, "/")) {
		vars.Fault("XINGHE_SINK", fmt.Errorf("%q names no bucket: want %s://<bucket>/<prefix>", text, kind))
		return nil
	}
	return chain.FromEnv(ctx, vars)
}

// files writes to the sink, but makes no folder.
func files(ctx context.Context, vars *env.Vars) (string, error) {
	to := configuredSink(ctx, vars)
	if to == nil {
		return "", nil
	}
	if path, ok := strings.CutPrefix(vars.String("XINGHE_SINK", ""), sink.KindFolder+":"); ok {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return absent(path)
		}
	}
	if err := probe(ctx, to, mark()); err != nil {
		return "", fmt.Errorf("XINGHE_SINK: %w%s", err, unset(vars, to.Kind()))
	}
	return to.Kind() + ": files can be written and deleted", nil
}

// mark is the name of what is written, and taken away again.
func mark() string { return "xinghe-doctor-" + ulid.Make().String() }

// absent tells whether a folder that is not there can be made. It is not made, as its path may
// be mistyped: another one is, for a moment, where the first that is missing would stand.
func absent(path string) (string, error) {
	above := filepath.Dir(path)
	for above != filepath.Dir(above) {
		if _, err := os.Lstat(above); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		above = filepath.Dir(above)
	}
	trial := filepath.Join(above, mark())
	err := os.Mkdir(trial, 0o700)
	if err == nil {
		err = os.Remove(trial)
	}
	if err != nil {
		return "", fmt.Errorf("XINGHE_SINK: the folder %s does not exist, and cannot be made: %w", path, err)
	}
	return fmt.Sprintf("folder: %s does not exist yet, and will be made in %s: is that the path you mean?", path, above), nil
}

// unset names the variables of a bucket of S3 that are not set. The AWS SDK has other sources,
// so this is no fault as long as the bucket can be written.
func unset(vars *env.Vars, kind string) string {
	if kind != sink.KindS3 {
		return ""
	}
	names := slices.DeleteFunc([]string{"AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}, func(name string) bool {
		return vars.String(name, "") != ""
	})
	if len(names) == 0 {
		return ""
	}
	return "; not set: " + strings.Join(names, ", ")
}

func probe(ctx context.Context, to sink.Sink, path string) error {
	w, err := to.Create(ctx, path)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write([]byte("written by xinghe doctor; delete it if you find it\n")); err != nil {
		return err
	}
	if err := w.Commit(); err != nil {
		return err
	}
	_, err = to.Stat(ctx, path)
	return errors.Join(err, to.Delete(context.WithoutCancel(ctx), path))
}
