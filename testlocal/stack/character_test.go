package stack_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"xinghe/shared/jobs"
	"xinghe/testlocal/emulator"
)

func TestReadiness(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, emulator.Config{})
	if got := b.call(http.MethodGet, b.URL+"/readyz", "", ""); got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// audit hears of changes to characters, by kind.
type audit struct {
	mu   sync.Mutex
	told map[string]jobs.CharacterEvent
	raw  string
}

func (b *bundle) audit() *audit {
	b.t.Helper()
	conn, err := nats.Connect(b.NATSURL)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(conn.Close)
	a := &audit{told: map[string]jobs.CharacterEvent{}}
	_, err = conn.Subscribe(jobs.SubjectCharacterEvents, func(msg *nats.Msg) {
		var event jobs.Event
		var data jobs.CharacterEvent
		if json.Unmarshal(msg.Data, &event) != nil || json.Unmarshal(event.Data, &data) != nil {
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.told[strings.TrimPrefix(msg.Subject, jobs.EventPrefix)] = data
		a.raw += string(msg.Data)
	})
	if err == nil {
		err = conn.Flush()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

// TestCharacterAudit changes a character through the front door and hears of it.
func TestCharacterAudit(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, emulator.Config{})
	a := b.audit()
	const profile = `"name":"新来的","introduction":"介绍","basicInformation":"b","openingLine":"o"`
	created := b.post("/v2/api/character/create", "{"+profile+"}")
	var got struct {
		RequestID string `json:"requestId"`
		Data      struct {
			CharacterID string `json:"characterId"`
			Version     int64  `json:"version"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(created.body), &got); err != nil || created.status != http.StatusOK {
		t.Fatalf("%d %s", created.status, created.body)
	}
	if told := created.header.Get("X-Upstream-Request-Id"); told == "" || told != got.RequestID {
		t.Errorf("X-Upstream-Request-Id %q, upstream says %q", told, got.RequestID)
	}
	id := got.Data.CharacterID
	updated := b.post("/v2/api/character/update", `{"characterId":"`+id+`",`+profile+`}`)
	deleted := b.post("/v2/api/character/delete", `{"characterId":"`+id+`"}`)
	event := func(of answer, version int64) jobs.CharacterEvent {
		return jobs.CharacterEvent{
			CharacterID: id, Version: version, Key: "key-1",
			RequestID: of.header.Get("X-Request-Id"), UpstreamRequestID: of.header.Get("X-Upstream-Request-Id"),
		}
	}
	want := map[string]jobs.CharacterEvent{
		jobs.EventCharacterCreated: event(created, got.Data.Version),
		jobs.EventCharacterUpdated: event(updated, 0),
		jobs.EventCharacterDeleted: event(deleted, 0),
	}
	until(t, "all changes are told", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.told) == len(want)
	})
	if diff := cmp.Diff(want, a.told); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(a.raw, "新来的") || strings.Contains(a.raw, "介绍") {
		t.Errorf("the events tell what the character says: %s", a.raw)
	}
}
