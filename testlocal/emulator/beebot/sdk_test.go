package beebot_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	sdkerrors "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"

	"xinghe/testlocal/emulator/beebot"
)

// TestOfficialSDK calls the gateway through the Go SDK of Alibaba Cloud, which knows nothing of
// the emulator but its address.
func TestOfficialSDK(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *beebot.Config) { cfg.Now = nil })
	request := func(action string, more ...string) *requests.CommonRequest {
		req := requests.NewCommonRequest()
		req.Method, req.Scheme = http.MethodPost, "http"
		req.Domain = strings.TrimPrefix(b.http.URL, "http://")
		req.Version, req.ApiName = beebot.Version, action
		for i := 0; i < len(more); i += 2 {
			req.QueryParams[more[i]] = more[i+1]
		}
		return req
	}
	client := func(secret string) *sdk.Client {
		cfg := sdk.NewConfig().WithAutoRetry(false)
		cfg.HttpTransport, _ = b.http.Client().Transport.(*http.Transport)
		c, err := sdk.NewClientWithOptions("cn-shanghai", cfg, credentials.NewAccessKeyCredential(beebot.DefaultAccessKeyID, secret))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	good := client(beebot.DefaultAccessKeySecret)
	resp, err := good.ProcessCommonRequest(request("ApplyForStreamAccessToken", "AgentKey", beebot.DefaultAgentKey))
	if err != nil {
		t.Fatal(err)
	}
	var a access
	if err := json.Unmarshal(resp.GetHttpContentBytes(), &a); err != nil || a.AccessToken == "" {
		t.Errorf("token: %v, %s", err, resp.GetHttpContentBytes())
	}
	resp, err = good.ProcessCommonRequest(request("Chat", "InstanceId", beebot.DefaultInstanceID, "Utterance", "今天 天气*怎么样~?"))
	if err != nil || !strings.Contains(resp.GetHttpContentString(), "NO_ANSWER") {
		t.Errorf("chat: %v", err)
	}
	var refused *sdkerrors.ServerError
	_, err = good.ProcessCommonRequest(request("Chat", "InstanceId", "nobody", "Utterance", "你好"))
	if !errors.As(err, &refused) || refused.ErrorCode() != "InvalidInstanceId.NotFound" || refused.HttpStatus() != http.StatusNotFound || refused.RequestId() == "" {
		t.Errorf("unknown robot: %v", err)
	}
	_, err = client("wrong").ProcessCommonRequest(request("ApplyForStreamAccessToken"))
	if !errors.As(err, &refused) || !strings.HasPrefix(refused.Recommend(), "InvalidAccessKeySecret") {
		t.Errorf("the SDK does not recognise the wrong secret: %v", err)
	}
}
