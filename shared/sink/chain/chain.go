// Package chain makes sinks whose buckets are reached by everything that the AWS SDK knows:
// variables, profiles, and the roles of machines, containers and pods. It is for workers and
// programs that people start; functions, which it would slow down, have [sink.FromEnv].
//
//	files := chain.FromEnv(ctx, vars)
package chain

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"xinghe/shared/env"
	"xinghe/shared/sign"
	"xinghe/shared/sink"
)

// FromEnv is [sink.FromEnv], but for the sources of credentials. They are looked up for as
// long as ctx lives.
func FromEnv(ctx context.Context, vars *env.Vars) sink.Sink {
	s, err := Parse(ctx, sink.Word(vars))
	vars.Fault("XINGHE_SINK", err)
	return s
}

// Parse is [sink.Parse] with these sources.
func Parse(ctx context.Context, text string) (sink.Sink, error) {
	return sink.Parse(text, func() (aws.Config, error) {
		cfg, err := config.LoadDefaultConfig(ctx, config.WithDefaultRegion(sink.DefaultRegion))
		if err != nil {
			return cfg, fmt.Errorf("s3: %w", sign.RedactError(err))
		}
		return cfg, nil
	})
}
