package sink

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"xinghe/shared/env"
)

// FromEnv makes the sink that XINGHE_SINK names: folder:<path>, or s3://<bucket>/<prefix>.
// Without it, it is the folder "exports" in XINGHE_DATA (default ".xinghe"). Region,
// credentials and the address of S3 are read by the AWS SDK from its own variables and
// files, such as AWS_REGION, AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL_S3. It returns nil if
// the variable's value does not do.
func FromEnv(ctx context.Context, vars *env.Vars) Sink {
	fallback := KindFolder + ":" + filepath.Join(vars.String("XINGHE_DATA", ".xinghe"), "exports")
	s, err := Parse(ctx, vars.String("XINGHE_SINK", fallback))
	vars.Fault("XINGHE_SINK", err)
	return s
}

// Parse makes the sink that a text names, as [FromEnv] describes it.
func Parse(ctx context.Context, text string) (Sink, error) {
	if path, ok := strings.CutPrefix(text, KindFolder+":"); ok && path != "" {
		return NewFolder(path)
	}
	if rest, ok := strings.CutPrefix(text, KindS3+"://"); ok {
		bucket, prefix, _ := strings.Cut(rest, "/")
		s, err := OpenS3(ctx, bucket, strings.Trim(prefix, "/"))
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	return nil, fmt.Errorf("%q: %w", text, errWord)
}

var errWord = errors.New("want folder:<path> or s3://<bucket>/<prefix>")
