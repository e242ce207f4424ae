package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/beebot"
	"xinghe/shared/env"
	"xinghe/shared/httpapi"
	"xinghe/shared/queue"
	"xinghe/shared/xingchen"
)

var looks = []look{
	{"keys", keys},
	{"xingchen", characters},
	{"beebot", robots},
	{"clock", clock},
	{"nats", broker},
	{"sink", files},
	{"deployment", deployment},
}

func keys(_ context.Context, vars *env.Vars) (string, error) {
	if vars.String("XINGHE_API_KEYS", "") == "" && vars.String("XINGHE_API_KEYS_FILE", "") == "" {
		return "", nil
	}
	cfg := httpapi.FromEnv(vars, zerolog.Nop())
	if cfg.Keys == nil {
		return "", nil // the faults say why
	}
	return "the list of keys can be read", nil
}

func characters(ctx context.Context, vars *env.Vars) (string, error) {
	client := xingchen.FromEnv(vars)
	if client == nil {
		return "", nil
	}
	page, err := client.SearchCharacters(ctx, xingchen.CharacterQuery{Where: xingchen.CharacterWhere{Scope: "my"}, PageNum: 1, PageSize: 1})
	if err != nil {
		return "", fmt.Errorf("XINGCHEN_API_KEY, XINGCHEN_BASE_URL: %w", err)
	}
	return fmt.Sprintf("the key is taken, and owns %d characters", page.Total), nil
}

func robots(ctx context.Context, vars *env.Vars) (string, error) {
	client := beebot.FromEnv(vars)
	if client == nil {
		return "", nil
	}
	defer func() { _ = client.Close() }()
	access, err := client.ApplyForStreamAccessToken(ctx)
	if err != nil {
		return "", fmt.Errorf("ALIBABA_CLOUD_ACCESS_KEY_ID and _SECRET, BEEBOT_ENDPOINT, BEEBOT_AGENT_KEY: %w", err)
	}
	return "stream credentials are given out, good until " + access.ExpiresAt.UTC().Format(time.RFC3339), nil
}

// skew is how far our clock may be off. Beebot refuses signatures that are too old, and the
// tolerance of webhooks is of the same kind.
const skew = 30 * time.Second

// clock compares ours with those of the services, by the dates of their answers, which may
// be refusals.
func clock(ctx context.Context, vars *env.Vars) (string, error) {
	var services []string
	if !vars.Secret("XINGCHEN_API_KEY").IsZero() {
		services = append(services, vars.URL("XINGCHEN_BASE_URL", xingchen.DefaultBaseURL))
	}
	if vars.String("ALIBABA_CLOUD_ACCESS_KEY_ID", "") != "" {
		services = append(services, vars.URL("BEEBOT_ENDPOINT", beebot.DefaultEndpoint))
	}
	var told []string
	for _, service := range services {
		off, err := offset(ctx, service)
		if err != nil {
			return "", err
		}
		if off.Abs() > skew {
			return "", fmt.Errorf("this machine's clock is %s off that of %s: set it, or signatures are refused", off.Round(time.Second), service)
		}
		told = append(told, fmt.Sprintf("%s off that of %s", off.Round(time.Second), service))
	}
	return strings.Join(told, ", "), nil
}

// offset is how far our clock is ahead of a server's, to about a second.
func offset(ctx context.Context, address string) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, address, http.NoBody)
	if err != nil {
		return 0, err
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		return 0, err
	}
	_ = resp.Body.Close()
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return 0, fmt.Errorf("%s says no date: %w", address, err)
	}
	return time.Since(date), nil
}

var httpClient = &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}

func broker(ctx context.Context, vars *env.Vars) (string, error) {
	if !queue.Configured(vars) {
		return "", nil
	}
	conn := queue.FromEnv(vars, "xinghe-doctor", zerolog.Nop())
	cfg := queue.ConfigFromEnv(vars)
	if err := vars.Err(); err != nil {
		return "", err
	}
	q, err := queue.Open(conn, cfg)
	if err != nil {
		return "", err
	}
	defer q.Close()
	states, err := q.Inspect(ctx)
	if err != nil {
		return "", fmt.Errorf("NATS_URL, NATS_CREDS, NATS_CONTEXT: %w", err)
	}
	var told []string
	for _, state := range states {
		switch {
		case state.Missing:
			told = append(told, state.Name+" is not there yet (workers make it)")
		case cfg.Replicas > 0 && state.Replicas != cfg.Replicas:
			return "", fmt.Errorf("stream %s has %d replicas, XINGHE_NATS_REPLICAS says %d; workers change it when they start", state.Name, state.Replicas, cfg.Replicas)
		default:
			told = append(told, fmt.Sprintf("%s holds %d in %d replicas", state.Name, state.Messages, state.Replicas))
		}
	}
	return strings.Join(told, ", "), nil
}

func deployment(ctx context.Context, vars *env.Vars) (string, error) {
	if vars.String("XINGHE_URL", "") == "" {
		return "", nil
	}
	address, key := vars.URL("XINGHE_URL", ""), vars.Secret("XINGHE_KEY")
	if err := vars.Err(); err != nil {
		return "", err
	}
	switch status, err := get(ctx, address+"/readyz", ""); {
	case err != nil:
		return "", fmt.Errorf("XINGHE_URL: nobody answers: %w", err)
	case status != http.StatusOK:
		return "", fmt.Errorf("XINGHE_URL: %s/readyz answers %d", address, status)
	}
	if key.IsZero() {
		return "ready; without XINGHE_KEY no more is known", nil
	}
	for _, path := range keyed {
		switch status, err := get(ctx, address+path, key.Reveal()); {
		case err != nil:
			return "", err
		case status == http.StatusUnauthorized:
			return "", errors.New("XINGHE_KEY: the deployment does not know the key")
		case status != http.StatusNotFound:
			return "ready, and the key is known", nil
		}
	}
	return "ready; none of its routes tells whether the key is known", nil
}

// keyed are routes that want a key and change nothing. Not every function has one.
var keyed = []string{"/v1/models", "/v1/exports?limit=1"}

func get(ctx context.Context, address, key string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return 0, err
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		return 0, err
	}
	_ = resp.Body.Close()
	return resp.StatusCode, nil
}
