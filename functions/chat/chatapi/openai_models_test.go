package chatapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/functions/chat/chatapi"
	"xinghe/shared/beebot"
	"xinghe/shared/env"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/fault"
	"xinghe/testlocal/emulator/xingchen"
)

type model struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
	Name    string `json:"name"`
}

func (f *front) models() []model {
	f.t.Helper()
	got := f.call(http.MethodGet, "/v1/models", "")
	list := decode[struct {
		Object string
		Data   []model
	}](f.t, got.body)
	if got.status != http.StatusOK || list.Object != "list" {
		f.t.Fatalf("%d %s", got.status, got.body)
	}
	return list.Data
}

func TestModels(t *testing.T) {
	t.Parallel()
	f := setup(t, options{vars: map[string]string{"BEEBOT_INSTANCES": robot + "=tongyi, other=classic", "XINGCHEN_MODELS": "xingchen-plus,qwen-spark-v3"}})
	var others []model
	names := map[string]string{}
	for _, m := range f.models() {
		if id, ok := strings.CutPrefix(m.ID, "character:"); ok {
			names[id] = m.Name
			if m.Object != "model" || m.OwnedBy != "xingchen" || m.Created < 1e9 || m.Created > 1e10 {
				t.Errorf("%+v", m)
			}
			continue
		}
		others = append(others, m)
	}
	want := []model{
		{ID: "beebot:" + robot, Object: "model", OwnedBy: "beebot"},
		{ID: "beebot:other", Object: "model", OwnedBy: "beebot"},
		{ID: "xingchen-plus", Object: "model", OwnedBy: "xingchen"},
		{ID: "qwen-spark-v3", Object: "model", OwnedBy: "xingchen"},
	}
	if diff := cmp.Diff(want, others); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Those of the emulator's first account, and nobody else's.
	owned := map[string]string{
		xiaowan: "小婉", "ef693021ffdf403489ce4724005831ad": "小婉", "c1777d6d7ce14abdba81453126818825": "关云长", "64b5ffed4e8d45fa8de91fe217290233": "小星",
	}
	if diff := cmp.Diff(owned, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, m := range append(want, model{ID: "character:" + xiaowan, Object: "model", OwnedBy: "xingchen", Name: "小婉"}) {
		got := f.call(http.MethodGet, "/v1/models/"+strings.Replace(m.ID, ":", "%3A", 1), "")
		one := decode[model](t, got.body)
		if one.Name != "" {
			one.Created = 0
		}
		if one != m || got.status != http.StatusOK || got.header.Get("X-Upstream-Request-Id") != "" {
			t.Errorf("%s: %d %s", m.ID, got.status, got.body)
		}
	}
	for id, status := range map[string]int{"gpt-4o": 404, "beebot:nobody": 404, "character:nobody": 404, "character:9e8d7c6b5a4f4e3d8c2b1a0f9e8d7c6b": 403} {
		got := f.call(http.MethodGet, "/v1/models/"+id, "")
		if told := decode[completion](t, got.body).Error; got.status != status || told == nil || told.Message == "" || (told.Param == "model") != (status == http.StatusNotFound) {
			t.Errorf("%s: %d %s", id, got.status, got.body)
		}
		if upstreams := strings.HasPrefix(id, "character:"); upstreams != (got.header.Get("X-Upstream-Request-Id") != "") {
			t.Errorf("%s: %v", id, got.header)
		}
	}
}

// All pages are read, once for a while, by one of those who ask.
func TestModelsOfManyPages(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	f := setup(t, options{
		emulator: emulator.Config{History: &xingchen.History{Characters: 120, Users: 1, Messages: 120, From: time.Unix(1700000000, 0), To: time.Unix(1700009000, 0)}},
		configure: func(_ string, cfg *chatapi.Config) {
			cfg.Now = func() time.Time { return time.Unix(1710000000+ahead.Load(), 0) }
		},
	})
	pages := func() int { return len(f.upstream("/v2/api/character/search")) }
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			ids := map[string]bool{}
			for _, m := range f.models() {
				ids[m.ID] = true
			}
			if len(ids) < 120 {
				t.Errorf("%d models", len(ids))
			}
		})
	}
	all.Wait()
	read := pages()
	if read != 3 {
		t.Errorf("%d pages were read", read)
	}
	ahead.Store(29)
	if f.models(); pages() != read {
		t.Errorf("read again after 29 seconds")
	}
	ahead.Store(31)
	if f.models(); pages() != 2*read {
		t.Errorf("%d pages were read in all", pages())
	}
}

// A list that cannot be read is an error, and not kept.
func TestModelsWithoutUpstream(t *testing.T) {
	t.Parallel()
	f := setup(t, options{})
	if err := f.emu.Faults().Set(fault.Rule{Route: "/v2/api/character/search", Fault: fault.InternalError, Times: 1}); err != nil {
		t.Fatal(err)
	}
	got := f.call(http.MethodGet, "/v1/models", "")
	if told := decode[completion](t, got.body).Error; got.status != http.StatusBadGateway || told == nil || told.Type != "api_error" || told.Code != "upstream_error" {
		t.Errorf("%d %s", got.status, got.body)
	}
	if len(f.models()) < 5 {
		t.Error("no list afterwards")
	}
}

func TestRobotsFromEnv(t *testing.T) {
	t.Parallel()
	for text, tc := range map[string]struct {
		robots []beebot.Robot
		fault  string
	}{
		"":                          {},
		"a=tongyi":                  {robots: []beebot.Robot{{ID: "a"}}},
		" a = classic , b=tongyi, ": {robots: []beebot.Robot{{ID: "a", Classic: true}, {ID: "b"}}},
		"a":                         {fault: `"a" is neither`},
		"a=other":                   {fault: `"a=other" is neither`},
		"=tongyi":                   {fault: `"=tongyi" is neither`},
		"a=tongyi,a=classic":        {fault: `"a" is listed twice`},
	} {
		set := map[string]string{"BEEBOT_INSTANCES": text, "ALIBABA_CLOUD_ACCESS_KEY_ID": "a", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "b"}
		vars := env.New(func(name string) string { return set[name] })
		cfg := chatapi.FromEnv(vars)
		told := fmt.Sprint(vars.Err())
		if tc.fault != "" && !strings.Contains(told, "BEEBOT_INSTANCES: "+tc.fault) || tc.fault == "" && (vars.Err() != nil || !slices.Equal(cfg.Robots, tc.robots)) {
			t.Errorf("%q: %+v, %s", text, cfg.Robots, told)
		}
	}
	set := map[string]string{"BEEBOT_INSTANCES": "a=tongyi", "XINGCHEN_API_KEY": "k"}
	vars := env.New(func(name string) string { return set[name] })
	chatapi.FromEnv(vars)
	if told := fmt.Sprint(vars.Err()); !strings.Contains(told, "BEEBOT_INSTANCES: set without ALIBABA_CLOUD_ACCESS_KEY_ID") {
		t.Errorf("without a key pair: %s", told)
	}
}
