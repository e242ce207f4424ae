// Package model asks a language model behind any endpoint that is compatible with OpenAI's
// chat completions, so that the emulator's characters and robots can speak for themselves.
//
//	m, err := model.New(model.Config{URL: "http://127.0.0.1:11434/v1", Model: "qwen3"})
//	for piece, err := range m.Stream(ctx, messages) { … }
//
// It asks for a stream and hands pieces on as they come. It does not retry.
package model

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"xinghe/shared/env"
	"xinghe/shared/sign"
	"xinghe/shared/sse"
)

const (
	// headTimeout bounds the wait for an answer to begin, idleTimeout the longest silence in
	// one: a model that is loaded first takes its time.
	headTimeout = 2 * time.Minute
	idleTimeout = time.Minute
	// maxAnswer bounds an answer that is no stream, and maxError that of a refusal, in bytes.
	maxAnswer = 4 << 20
	maxError  = 64 << 10
)

// Config of a [Client]. Zero values mean the defaults.
type Config struct {
	// URL of the endpoint, up to and with its version, as in "https://api.openai.com/v1". Required.
	URL string
	// Key is sent as a bearer token; none by default.
	Key sign.Secret
	// Model is what the endpoint is asked for. Required.
	Model string
	// HTTP makes the requests. Default: a client with time-outs of its own.
	HTTP *http.Client
}

// Client asks the model. It is safe for concurrent use.
type Client struct{ cfg Config }

// FromEnv reads XINGHE_EMULATOR_MODEL_URL, XINGHE_EMULATOR_MODEL_KEY (or the file that
// XINGHE_EMULATOR_MODEL_KEY_FILE names) and XINGHE_EMULATOR_MODEL. It returns nil if there is
// no address, or after it has noted a fault.
func FromEnv(vars *env.Vars) *Client {
	cfg := Config{
		URL: vars.URL("XINGHE_EMULATOR_MODEL_URL", ""), Key: vars.Secret("XINGHE_EMULATOR_MODEL_KEY"),
		Model: vars.String("XINGHE_EMULATOR_MODEL", ""),
	}
	if cfg.URL == "" {
		return nil
	}
	client, err := New(cfg)
	vars.Fault("XINGHE_EMULATOR_MODEL", err)
	return client
}

// New returns a client. It does not touch the network.
func New(cfg Config) (*Client, error) {
	if cfg.URL == "" || cfg.Model == "" {
		return nil, errors.New("missing: the address and the name of the model are required")
	}
	cfg.URL = strings.TrimSuffix(cfg.URL, "/")
	if cfg.HTTP == nil {
		transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: headTimeout, IdleConnTimeout: time.Minute}
		cfg.HTTP = &http.Client{Transport: transport}
	}
	return &Client{cfg: cfg}, nil
}

// Close closes connections that are not in use.
func (c *Client) Close() { c.cfg.HTTP.CloseIdleConnections() }

// Message is one message of a conversation; Role is system, user or assistant.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// Error is a refusal by the endpoint.
type Error struct {
	Status int
	// RetryAfter is how long the endpoint asks us to wait; 0 if it does not.
	RetryAfter time.Duration
	// Message is what it says, redacted.
	Message string
}

func (e *Error) Error() string {
	return fmt.Sprintf("the model refuses with %d: %s", e.Status, e.Message)
}

// Throttled reports whether the endpoint has too much to do.
func (e *Error) Throttled() bool { return e.Status == http.StatusTooManyRequests }

// ErrTruncated means that an answer ended without saying so.
var ErrTruncated = errors.New("the model's answer broke off")

// Reply returns the whole of an answer.
func (c *Client) Reply(ctx context.Context, messages []Message) (string, error) {
	var text strings.Builder
	for piece, err := range c.Stream(ctx, messages) {
		if err != nil {
			return "", err
		}
		text.WriteString(piece)
	}
	return text.String(), nil
}

// Stream yields an answer's pieces as they come, none of which is empty. An error ends it:
// [*Error], [ErrTruncated], or that of the connection.
func (c *Client) Stream(ctx context.Context, messages []Message) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		resp, err := c.ask(ctx, messages)
		if err != nil {
			yield("", sign.RedactError(err))
			return
		}
		defer func() { _ = resp.Body.Close() }()
		if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); media == "application/json" {
			yield(whole(resp.Body)) // an endpoint that knows no streams
			return
		}
		idle := time.AfterFunc(idleTimeout, func() { cancel(errIdle) })
		defer idle.Stop()
		more := true
		err = c.read(resp.Body, func(piece string) bool {
			idle.Reset(idleTimeout)
			more = piece == "" || yield(piece, nil)
			return more
		})
		if err != nil && more {
			yield("", cmp.Or(context.Cause(ctx), err))
		}
	}
}

var errIdle = errors.New("the model says nothing any more")

func (c *Client) ask(ctx context.Context, messages []Message) (*http.Response, error) {
	body, err := json.Marshal(map[string]any{"model": c.cfg.Model, "messages": messages, "stream": true})
	if err != nil {
		return nil, fmt.Errorf("encode the question to the model: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.cfg.URL+"/chat/completions", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream")
	if !c.cfg.Key.IsZero() {
		req.Header.Set("Authorization", "Bearer "+c.cfg.Key.Reveal())
	}
	resp, err := c.cfg.HTTP.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the model: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	return nil, refused(resp)
}

// refused reads a refusal, whatever form it has.
func refused(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxError)) // a part of it will do
	e := &Error{Status: resp.StatusCode, Message: sign.Redact(strings.ToValidUTF8(string(text), ""))}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	var known struct{ Error struct{ Message string } }
	if json.Unmarshal(text, &known) == nil && known.Error.Message != "" {
		e.Message = sign.Redact(known.Error.Message)
	}
	return e
}

// answer is a completion, or a chunk of one.
type answer struct {
	Choices []struct {
		Delta, Message struct{ Content string }
		FinishReason   *string `json:"finish_reason"`
	}
	Error *struct{ Message string }
}

func (a answer) refusal() error {
	if a.Error == nil {
		return nil
	}
	return &Error{Status: http.StatusBadGateway, Message: sign.Redact(a.Error.Message)}
}

func whole(body io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(body, maxAnswer))
	if err != nil {
		return "", fmt.Errorf("read the model's answer: %w", err)
	}
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		return "", fmt.Errorf("decode the model's answer: %w", err)
	}
	if len(a.Choices) == 0 || a.Error != nil {
		return "", cmp.Or(a.refusal(), ErrTruncated)
	}
	return a.Choices[0].Message.Content, nil
}

// read calls each with the text of every chunk, which may be empty, until it returns false.
func (c *Client) read(body io.Reader, each func(string) bool) error {
	ended := false
	for event, err := range sse.NewReader(body, sse.ReaderConfig{}).Events() {
		if err != nil {
			return fmt.Errorf("read the model's answer: %w", err)
		}
		if string(bytes.TrimSpace(event.Data)) == "[DONE]" {
			return nil
		}
		var a answer
		if err := json.Unmarshal(event.Data, &a); err != nil {
			return fmt.Errorf("decode the model's answer: %w", err)
		}
		if err := a.refusal(); err != nil {
			return err
		}
		if len(a.Choices) == 0 {
			continue // usage, or what else an endpoint tells
		}
		ended = ended || a.Choices[0].FinishReason != nil && *a.Choices[0].FinishReason != ""
		if !each(a.Choices[0].Delta.Content) {
			return nil
		}
	}
	if !ended {
		return ErrTruncated
	}
	return nil
}
