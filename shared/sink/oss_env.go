package sink

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"
	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss/credentials"

	"xinghe/shared/env"
)

// OpenOSS is [NewOSS] with a client that is configured by the variables of Alibaba's SDKs:
// OSS_REGION, such as cn-hangzhou; OSS_ENDPOINT, by default the region's public address;
// ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and, for temporary keys,
// ALIBABA_CLOUD_SECURITY_TOKEN, each also as the name of a file in the variable with _FILE.
// The keys are read anew for each request, so that files may change. If the endpoint is an
// IP address the bucket stands in the path of requests.
func OpenOSS(bucket, prefix string) (*OSS, error) {
	vars := env.New(os.Getenv) //nolint:forbidigo // the SDK's variables, read as it reads them
	cfg := oss.NewConfig().WithRegion(vars.String("OSS_REGION", "")).WithCredentialsProvider(
		credentials.CredentialsProviderFunc(func(context.Context) (credentials.Credentials, error) { return ossKeys() }))
	if !oss.IsValidRegion(*cfg.Region) {
		vars.Fault("OSS_REGION", fmt.Errorf("%q is no region such as cn-hangzhou", *cfg.Region))
	}
	if endpoint := vars.String("OSS_ENDPOINT", ""); endpoint != "" {
		cfg.WithEndpoint(endpoint)
	}
	_, err := ossKeys()
	if err := errors.Join(vars.Err(), err); err != nil {
		return nil, err
	}
	return NewOSS(oss.NewClient(cfg), bucket, prefix)
}

func ossKeys() (credentials.Credentials, error) {
	vars := env.New(os.Getenv) //nolint:forbidigo // as above
	keys := credentials.Credentials{
		AccessKeyID:     vars.Secret("ALIBABA_CLOUD_ACCESS_KEY_ID").Reveal(),
		AccessKeySecret: vars.Secret("ALIBABA_CLOUD_ACCESS_KEY_SECRET").Reveal(),
		SecurityToken:   vars.Secret("ALIBABA_CLOUD_SECURITY_TOKEN").Reveal(),
	}
	err := vars.Err()
	if err == nil && !keys.HasKeys() {
		err = errors.New("ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET: missing")
	}
	return keys, err
}
