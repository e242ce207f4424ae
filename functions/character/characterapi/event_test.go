package characterapi_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/jobs"
)

func TestChangesAreTold(t *testing.T) {
	t.Parallel()
	create, update := fixture(t, "xingchen-character-create-request.json"), fixture(t, "xingchen-character-update-request.json")
	const id = "c1777d6d7ce14abdba81453126818825"
	type event struct {
		kind string
		data jobs.CharacterEvent
	}
	base := jobs.CharacterEvent{CharacterID: id, Key: "key-1", RequestID: "req-1", UpstreamRequestID: "up-1"}
	versioned := base
	versioned.Version = 2
	fresh := base
	fresh.CharacterID, fresh.Version = "fresh", 1
	for _, tc := range []struct {
		name, path, body, answer string
		status                   int
		want                     *event
	}{
		{"create", "create", create, `{"requestId":"up-1","code":200,"data":{"characterId":"fresh","version":1},"success":true}`, 200, &event{"character.created", fresh}},
		{"update", "update", update, "", 200, &event{"character.updated", base}},
		{"version", "createOrUpdateVersion", with(t, update, "version", "2"), "", 200, &event{"character.versioned", versioned}},
		{"delete", "delete", `{"characterId":"` + id + `"}`, "", 200, &event{"character.deleted", base}},
		{"delete by the query", "delete?characterId=" + id, "", "", 200, &event{"character.deleted", base}},
		{"search changes nothing", "search", "{}", "", 200, nil},
		{"refused by us", "update", "{}", "", 200, nil},
		{"refused by upstream", "update", update, `{"requestId":"up-1","code":404,"success":false,"errorMessageKey":"aca.error.notfound"}`, 400, nil},
		{"refused with status 200", "update", update, `{"requestId":"up-1","code":403,"success":false,"errorMessageKey":"aca.error.no.permission"}`, 200, nil},
		{"broken upstream", "update", update, `<html>`, 502, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.upstream.status = tc.status
			if tc.answer != "" {
				b.upstream.answer = tc.answer
			}
			b.do("POST", "/v2/api/character/"+tc.path, tc.body)
			if err := b.events.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if tc.want == nil {
				if len(b.inbox.list) > 0 {
					t.Errorf("told %s", b.inbox.list)
				}
				return
			}
			if len(b.inbox.list) != 1 {
				t.Fatalf("told %s", b.inbox.list)
			}
			var got struct {
				Subject string
				Event   jobs.Event
			}
			var data jobs.CharacterEvent
			if err := errors.Join(json.Unmarshal(b.inbox.list[0], &got), json.Unmarshal(got.Event.Data, &data)); err != nil {
				t.Fatal(err)
			}
			if got.Subject != "xinghe.events."+tc.want.kind || got.Event.Type != "xinghe."+tc.want.kind || got.Event.Source != "/xinghe/character" ||
				got.Event.Subject != "character:"+tc.want.data.CharacterID || got.Event.SpecVersion != "1.0" {
				t.Errorf("%s", b.inbox.list[0])
			}
			if diff := cmp.Diff(tc.want.data, data); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(string(b.inbox.list[0])+b.log.String(), "关云长") {
				t.Errorf("the character's text is told: %s %s", b.inbox.list[0], b.log)
			}
		})
	}
}

// left is a client that has gone.
type left struct{ http.ResponseWriter }

func (left) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestChangeIsToldThoughItsCallerHasLeft(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.upstream.answer = `{"requestId":"up-1","code":200,"data":{"characterId":"fresh","version":1},"success":true}`
	r := httptest.NewRequest("POST", "/v2/api/character/create", strings.NewReader(fixture(t, "xingchen-character-create-request.json")))
	r.Header.Set("Authorization", "Bearer key")
	b.handler.ServeHTTP(left{httptest.NewRecorder()}, r)
	if err := b.events.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(b.inbox.list) != 1 || !strings.Contains(string(b.inbox.list[0]), `"characterId":"fresh"`) {
		t.Errorf("told %s", b.inbox.list)
	}
}

func TestChangeIsAnsweredThoughNobodyListens(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.inbox.err = errors.New("NATS is away")
	if w := b.do("POST", "/v2/api/character/delete", `{"characterId":"c"}`); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
