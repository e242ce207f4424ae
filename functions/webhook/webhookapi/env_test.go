package webhookapi_test

import (
	"testing"

	"xinghe/functions/webhook/webhookapi"
	"xinghe/shared/env"
)

// The kind of sink that exports are accepted for is that of the deployment.
func TestSinkFromEnv(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "folder:/data": "", "s3://bucket/prefix": "s3", "oss://bucket": "oss", "ftp://host": "",
	} {
		vars := env.New(func(name string) string { return map[string]string{"XINGHE_SINK": text}[name] })
		if got := webhookapi.FromEnv(vars).Sink; got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}
