package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"xinghe/shared/sse"
)

// client calls the front door as any backend would: plain HTTP with a key.
type client struct {
	url, key string
	http     *http.Client
}

// call makes a request and decodes its JSON answer; other statuses than want are errors
// that carry the answer.
func (c client) call(ctx context.Context, method, path string, body, answer any, want int) error {
	resp, err := c.send(ctx, method, path, body, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if resp.StatusCode != want {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, bytes.TrimSpace(data))
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return fmt.Errorf("%s %s: %w: %s", method, path, err, data)
	}
	return nil
}

// stream makes a request that is answered in events and hands each to take.
func (c client) stream(ctx context.Context, path string, body any, header map[string]string, take func(sse.Event) error) error {
	resp, err := c.send(ctx, http.MethodPost, path, body, header)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "text/event-stream") {
		data, err := io.ReadAll(resp.Body)
		return errors.Join(fmt.Errorf("POST %s: %s, %s: %s", path, resp.Status, kind, bytes.TrimSpace(data)), err)
	}
	for event, err := range sse.NewReader(resp.Body, sse.ReaderConfig{}).Events() {
		if err == nil && event.Type == "error" {
			err = fmt.Errorf("the stream failed: %s", event.Data)
		}
		if err == nil {
			err = take(event)
		}
		if err != nil {
			return fmt.Errorf("POST %s: %w", path, err)
		}
	}
	return nil
}

func (c client) send(ctx context.Context, method, path string, body any, header map[string]string) (*http.Response, error) {
	var encoded []byte
	if body != nil {
		var err error
		if encoded, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(encoded))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Content-Type", "application/json")
	for name, value := range header {
		req.Header.Set(name, value)
	}
	return c.http.Do(req)
}
