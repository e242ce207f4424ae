package faas

import (
	"testing"

	"xinghe/shared/env"
)

func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		lambda, fc string
		want       int64
	}{{"", "", 0}, {"128", "", 120795948}, {"", "512", 483183819}, {"x", "512", 483183819}} {
		vars := env.New(func(name string) string {
			return map[string]string{"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": tc.lambda, "FC_FUNCTION_MEMORY_SIZE": tc.fc}[name]
		})
		if got := memoryLimit(vars); got != tc.want {
			t.Errorf("%q %q: %d, want %d", tc.lambda, tc.fc, got, tc.want)
		}
	}
}
