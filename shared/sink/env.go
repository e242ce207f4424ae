package sink

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"xinghe/shared/env"
)

// FromEnv makes the sink that XINGHE_SINK names: folder:<path>, s3://<bucket>/<prefix>, or
// oss://<bucket>/<prefix>.
// Without it, it is the folder "exports" in XINGHE_DATA (default ".xinghe"). Region,
// credentials and the address of S3 are those of the AWS SDK's own variables, see [EnvAWS];
// of OSS see [OpenOSS]. It returns nil if the variable's value does not do.
func FromEnv(vars *env.Vars) Sink {
	s, err := Parse(Word(vars), EnvAWS)
	vars.Fault("XINGHE_SINK", err)
	return s
}

// Word is the text that names the sink in the variables, for [Parse].
func Word(vars *env.Vars) string {
	return vars.String("XINGHE_SINK", KindFolder+":"+filepath.Join(vars.String("XINGHE_DATA", ".xinghe"), "exports"))
}

// Parse makes the sink that a text names, as [FromEnv] describes it. A bucket is reached by
// what load gives.
func Parse(text string, load func() (aws.Config, error)) (Sink, error) {
	if path, ok := strings.CutPrefix(text, KindFolder+":"); ok && path != "" {
		return NewFolder(path)
	}
	if rest, ok := strings.CutPrefix(text, KindS3+"://"); ok {
		cfg, err := load()
		if err != nil {
			return nil, err
		}
		bucket, prefix, _ := strings.Cut(rest, "/")
		s, err := OpenS3(cfg, bucket, strings.Trim(prefix, "/"))
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	if rest, ok := strings.CutPrefix(text, KindOSS+"://"); ok {
		bucket, prefix, _ := strings.Cut(rest, "/")
		s, err := OpenOSS(bucket, strings.Trim(prefix, "/"))
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	return nil, fmt.Errorf("%q: %w", text, errWord)
}

// DefaultRegion stands in requests to services that have none.
const DefaultRegion = "us-east-1"

// EnvAWS configures the AWS SDK by its own variables alone: AWS_REGION, AWS_ACCESS_KEY_ID,
// AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_ENDPOINT_URL_S3. It is for functions, whose
// platforms set these, and to which the SDK's other sources would be half a megabyte; those
// are in package chain.
func EnvAWS() (aws.Config, error) {
	get := os.Getenv //nolint:forbidigo // the SDK's variables, read as it reads them
	cfg := aws.Config{Region: cmp.Or(get("AWS_REGION"), get("AWS_DEFAULT_REGION"), DefaultRegion)}
	if address := cmp.Or(get("AWS_ENDPOINT_URL_S3"), get("AWS_ENDPOINT_URL")); address != "" {
		cfg.BaseEndpoint = &address
	}
	cfg.Credentials = credentials.NewStaticCredentialsProvider(get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY"), get("AWS_SESSION_TOKEN"))
	return cfg, nil
}

var errWord = errors.New("want folder:<path>, s3://<bucket>/<prefix> or oss://<bucket>/<prefix>")
