package beebot

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"

	"xinghe/shared/sign"
	"xinghe/shared/upstream"
)

const apiVersion = "2022-04-08"

// rpc makes a signed call and decodes its answer into out.
func (c *Client) rpc(ctx context.Context, action string, params map[string]string, out any) error {
	callCtx, attempt := c.service.Begin(ctx, action)
	defer attempt.End()
	creds, err := c.cfg.Credentials(callCtx)
	if err != nil {
		return fmt.Errorf("beebot: credentials: %w", sign.RedactError(err))
	}
	wire := &exchange{ctx: callCtx, service: &c.service}
	err = c.send(wire, action, creds, params)
	switch {
	case wire.err != nil:
		return attempt.Failure(wire.err)
	case wire.status == 0:
		return fmt.Errorf("beebot: %s: %w", action, sign.RedactError(err))
	}
	return wire.decode(action, out, creds.AccessKeySecret, creds.SecurityToken, c.cfg.AgentKey, sign.NewSecret(creds.AccessKeyID))
}

// send lets the SDK sign the request and pass it to wire. The SDK's client writes to itself
// without a lock while it sends, so each call has its own; what is worth sharing, the
// connections, is below it.
func (c *Client) send(wire *exchange, action string, creds Credentials, params map[string]string) error {
	cfg := sdk.NewConfig().WithScheme(c.endpoint.Scheme).WithAutoRetry(false).WithMaxRetryTime(0).WithTimeout(2 * c.service.Timeout)
	cfg.Transport = wire
	client, err := sdk.NewClientWithOptions(c.cfg.Region, cfg,
		credentials.NewStaticSTSCredentialsProvider(creds.AccessKeyID, creds.AccessKeySecret.Reveal(), creds.SecurityToken.Reveal()))
	if err != nil {
		return err
	}
	// The SDK reads proxy variables for its own transport, and fails on forms of them that
	// net/http takes. It does not look where it has been given values.
	client.SetHttpProxy("unused")
	client.SetHttpsProxy("unused")
	client.SetNoProxy("unused")

	request := requests.NewCommonRequest()
	request.Method = requests.POST
	request.Scheme = c.endpoint.Scheme
	request.Domain = c.endpoint.Host
	request.Version = apiVersion
	request.ApiName = action
	for name, value := range params {
		if value != "" {
			request.QueryParams[name] = value
		}
	}
	_, err = client.ProcessCommonRequest(request)
	return err
}

// exchange is the transport of one call: it brings the caller's context, which the SDK does
// not know, and keeps the answer. The SDK never sees that: its own parser panics where the
// code of an error is not a text, reads bodies without a limit, and puts the request's whole
// address, signature included, into errors.
type exchange struct {
	ctx     context.Context
	service *upstream.Service

	status int
	header http.Header
	body   []byte
	err    error
}

// RoundTrip sends the request and answers the SDK with an empty success.
func (x *exchange) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := x.service.Transport.RoundTrip(req.WithContext(x.ctx))
	if err != nil {
		x.err = err
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if x.body, x.err = x.service.ReadAll(resp); x.err != nil {
		return nil, x.err
	}
	x.status, x.header = resp.StatusCode, resp.Header
	return &http.Response{StatusCode: http.StatusOK, Proto: "HTTP/1.1", Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

func (x *exchange) decode(action string, out any, secrets ...sign.Secret) error {
	if x.status < 200 || x.status > 299 {
		return newError(x.status, x.header, x.body, secrets...)
	}
	var r refusal
	if err := json.Unmarshal(x.body, &r); err != nil {
		if upstream.MediaType(x.header) == "text/html" || len(x.body) == 0 {
			return newError(x.status, x.header, x.body, secrets...)
		}
		return upstream.Malformed(name, action+" answer", x.body, err)
	}
	if r.failed() {
		return newError(x.status, x.header, x.body, secrets...)
	}
	if err := json.Unmarshal(x.body, out); err != nil {
		return upstream.Malformed(name, action+" answer", x.body, err)
	}
	return nil
}
