package stack_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"xinghe/shared/jobs"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/fault"
	"xinghe/testlocal/emulator/xingchen"
)

// schemas are those of docs/events, by type.
var schemas = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	files, err := filepath.Glob("../../docs/events/*.json")
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	list := map[string]*jsonschema.Schema{}
	for _, file := range files {
		if list[strings.TrimSuffix(filepath.Base(file), ".json")], err = compiler.Compile(file); err != nil {
			return nil, err
		}
	}
	delete(list, "envelope")
	return list, nil
})

func eventSchemas(t *testing.T) map[string]*jsonschema.Schema {
	t.Helper()
	list, err := schemas()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// eventTypes are the constants of package jobs that name the types of events.
func eventTypes(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../shared/jobs/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(node ast.Node) bool {
			spec, ok := node.(*ast.ValueSpec)
			if !ok || !strings.HasPrefix(spec.Names[0].Name, "Event") || len(spec.Values) == 0 {
				return true
			}
			literal, ok := spec.Values[0].(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING || spec.Names[0].Name == "EventPrefix" {
				return true
			}
			kind, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			types = append(types, kind)
			return true
		})
	}
	slices.Sort(types)
	return types
}

// TestEveryEventTypeHasASchema compares the vocabulary with the documents, both ways.
func TestEveryEventTypeHasASchema(t *testing.T) {
	t.Parallel()
	types := eventTypes(t)
	if len(types) < 15 {
		t.Fatalf("only %v were found", types)
	}
	if diff := cmp.Diff(types, slices.Sorted(maps.Keys(eventSchemas(t)))); diff != "" {
		t.Errorf("types in package jobs (-) and schemas in docs/events (+):\n%s", diff)
	}
}

// checkEvent holds what was published to its schema, and has CloudEvents' own library read it.
func checkEvent(t *testing.T, list map[string]*jsonschema.Schema, kind string, raw []byte) {
	t.Helper()
	schema := list[kind]
	if schema == nil {
		t.Errorf("%s has no schema: %s", kind, raw)
		return
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Errorf("%s: %v", kind, err)
		return
	}
	if err := schema.Validate(document); err != nil {
		t.Errorf("%s\nis not as its schema says: %v", raw, err)
	}
	var event cloudevents.Event
	if err := json.Unmarshal(raw, &event); err != nil {
		t.Errorf("%s: not for CloudEvents' library: %v", raw, err)
		return
	}
	if err := event.Validate(); err != nil || event.Type() != "xinghe."+kind || event.SpecVersion() != "1.0" {
		t.Errorf("%s: %s %v", raw, event.Type(), err)
	}
}

// TestEventExamples holds that the examples are good, and that no schema takes what is not.
func TestEventExamples(t *testing.T) {
	t.Parallel()
	list := eventSchemas(t)
	for kind, schema := range list {
		for _, example := range schema.Examples {
			raw, err := json.Marshal(example)
			if err != nil {
				t.Fatal(err)
			}
			checkEvent(t, list, kind, raw)
			for what, spoil := range map[string]func(event, data map[string]any){
				"another type":       func(event, _ map[string]any) { event["type"] = "xinghe.other.type" },
				"no subject":         func(event, _ map[string]any) { delete(event, "subject") },
				"no id":              func(event, _ map[string]any) { delete(event, "id") },
				"no date":            func(event, _ map[string]any) { event["time"] = "today" },
				"another zone":       func(event, _ map[string]any) { event["time"] = "2026-03-01T08:30:00+08:00" },
				"something unknown":  func(event, _ map[string]any) { event["other"] = true },
				"something in data":  func(_, data map[string]any) { data["other"] = true },
				"another's source":   func(event, _ map[string]any) { event["source"] = "/xinghe/other" },
				"no data":            func(_, data map[string]any) { clear(data) },
				"a number for words": func(_, data map[string]any) { spoilText(data) },
			} {
				var event map[string]any
				if err := json.Unmarshal(raw, &event); err != nil {
					t.Fatal(err)
				}
				spoil(event, event["data"].(map[string]any))
				if schema.Validate(event) == nil {
					t.Errorf("%s is taken with %s", kind, what)
				}
			}
		}
		if len(schema.Examples) == 0 || schema.Title != kind || schema.Description == "" {
			t.Errorf("%s: title %q, %d examples", kind, schema.Title, len(schema.Examples))
		}
	}
}

// TestEventsPage holds that the page tells of every type, and that its example is one.
func TestEventsPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/events/README.md")
	if err != nil {
		t.Fatal(err)
	}
	list := eventSchemas(t)
	for kind := range list {
		if strings.Count(string(page), "]("+kind+".json)") != 1 {
			t.Errorf("the page does not tell of %s once", kind)
		}
	}
	_, rest, _ := strings.Cut(string(page), "```json\n")
	example, _, _ := strings.Cut(rest, "```")
	checkEvent(t, list, jobs.EventHandoverRequested, []byte(example))
}

// spoilText makes numbers of the texts in an object.
func spoilText(data map[string]any) {
	for name, value := range data {
		if _, text := value.(string); text && name != "body" {
			data[name] = 7
		}
	}
}

// gatherer holds all events of a stack to their schemas as they come.
type gatherer struct {
	mu   sync.Mutex
	seen map[string]int
}

func (b *bundle) gather() *gatherer {
	b.t.Helper()
	list := eventSchemas(b.t)
	conn, err := nats.Connect(b.NATSURL)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(conn.Close)
	g := &gatherer{seen: map[string]int{}}
	_, err = conn.Subscribe(jobs.EventPrefix+">", func(msg *nats.Msg) {
		kind := strings.TrimPrefix(msg.Subject, jobs.EventPrefix)
		checkEvent(b.t, list, kind, msg.Data)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.seen[kind]++
	})
	if err == nil {
		err = conn.Flush()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return g
}

// wait waits until each of these types was seen so often at least.
func (g *gatherer) wait(t *testing.T, want map[string]int) {
	t.Helper()
	until(t, fmt.Sprintf("these have come: %v", want), func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		for kind, count := range want {
			if g.seen[kind] < count {
				return false
			}
		}
		return true
	})
}

// TestEventsAreAsTheirSchemasSay has a stack publish what it can, with the words of chats and
// without.
func TestEventsAreAsTheirSchemasSay(t *testing.T) {
	t.Parallel()
	for _, withText := range []string{"false", "true"} {
		t.Run("text "+withText, func(t *testing.T) {
			t.Parallel()
			b := setup(t, map[string]string{"XINGHE_EVENT_TEXT": withText, "XINGHE_IMAGE_FIRST_POLL": "10ms"}, emulator.Config{
				Assume: emulator.Assumptions{Xingchen: xingchen.Assumptions{ImageDelay: -1}},
			})
			if err := b.Emulator.Faults().Set(
				fault.Rule{Fault: fault.InternalError, User: "refused"}, fault.Rule{Fault: fault.Reset, AtFrame: 2, User: "broken"},
			); err != nil {
				t.Fatal(err)
			}
			g := b.gather()
			b.converseInAllWays()
			b.changeCharacters()
			b.startJobs()
			g.wait(t, map[string]int{
				jobs.EventChatCompleted: 8, jobs.EventChatFailed: 2,
				jobs.EventHandoverRequested: 2, jobs.EventAnswerMissing: 1, jobs.EventAnswerSensitive: 1,
				jobs.EventCharacterCreated: 1, jobs.EventCharacterUpdated: 1, jobs.EventCharacterVersioned: 1, jobs.EventCharacterDeleted: 1,
				jobs.EventExportDone: 1, jobs.EventExportPartial: 1, jobs.EventExportFailed: 1,
				jobs.EventRatingApplied: 1, jobs.EventRatingFailed: 1, jobs.EventImageReady: 1, jobs.EventImageFailed: 1,
			})
		})
	}
}

// request is a call that is to be answered with a status.
type request struct {
	path, body string
	status     int
	header     []string
}

func (b *bundle) posts(list ...request) {
	b.t.Helper()
	for _, r := range list {
		if got := b.post(r.path, r.body, r.header...); got.status != r.status {
			b.t.Errorf("%s %s: %d %s, want %d", r.path, r.body, got.status, got.body, r.status)
		}
	}
}

func (b *bundle) converseInAllWays() {
	b.t.Helper()
	const ask = "/v1/beebot/" + robot + "/ask"
	streamed := []string{"X-AcA-SSE", "enable"}
	b.posts(
		request{send, chat(xiaowan, "u1", "写10字"), http.StatusOK, nil},
		request{send, chat(xiaowan, "u2", strings.Repeat("很长的话", jobs.MaxChatText/4)), http.StatusOK, streamed},
		request{send, chat(xiaowan, "refused", "写10字"), http.StatusBadGateway, nil},
		request{send, chat(xiaowan, "broken", "写10字"), http.StatusOK, streamed},
		request{"/v2/api/groupchat/send", groupChat, http.StatusOK, nil},
		request{completions, completion("character:"+xiaowan, ""), http.StatusOK, nil},
		request{converse, `{"utterance":"人工客服","senderId":"u3","stream":true}`, http.StatusOK, nil},
		request{ask, `{"utterance":"人工客服","senderId":"u4"}`, http.StatusOK, nil},
		request{ask, `{"utterance":"公积金贷款","senderId":"u5"}`, http.StatusOK, nil},
		request{ask, `{"utterance":"敏感词","senderId":"u6"}`, http.StatusOK, nil},
	)
}

func (b *bundle) changeCharacters() {
	b.t.Helper()
	const profile = `"name":"新来的","introduction":"介绍","basicInformation":"b","openingLine":"o"`
	created := b.post("/v2/api/character/create", "{"+profile+"}")
	var answer struct {
		Data struct{ CharacterID string }
	}
	if err := json.Unmarshal([]byte(created.body), &answer); err != nil || created.status != http.StatusOK {
		b.t.Fatalf("%d %s %v", created.status, created.body, err)
	}
	b.posts(
		request{"/v2/api/character/update", `{"characterId":"` + answer.Data.CharacterID + `","version":1,` + profile + `}`, http.StatusOK, nil},
		request{"/v2/api/character/createOrUpdateVersion", `{"characterId":"` + answer.Data.CharacterID + `","version":2,` + profile + `}`, http.StatusOK, nil},
		request{"/v2/api/character/delete", `{"characterId":"` + answer.Data.CharacterID + `"}`, http.StatusOK, nil},
	)
}

func (b *bundle) startJobs() {
	b.t.Helper()
	spec := func(name, characters, more string) string {
		return `{"name":"` + name + `","characters":[` + characters + `],"users":["1234567"],"from":"2023-01-01T00:00:00Z","to":"2026-01-01T00:00:00Z"` + more + `}`
	}
	const picture = "8b9df7b9-f15b-4377-9e41-9a3e75ca6af7"
	b.posts(
		request{"/v1/exports", spec("good", `"`+xiaowan+`"`, `,"filter":{"messageTypes":["user"],"minRating":-1,"maxRating":5}`), http.StatusAccepted, nil},
		request{"/v1/exports", spec("half", `"`+xiaowan+`","nobody"`, `,"format":"csv","compression":"gzip"`), http.StatusAccepted, nil},
		request{"/v1/exports", spec("bad", `"nobody"`, ""), http.StatusAccepted, nil},
		request{"/v1/ratings", `[{"messageId":"a4d8ae9dbcd54d9196cd20afeb7a3059","rating":5,"info":"gut"},{"messageId":"nobody","rating":-1}]`, http.StatusAccepted, nil},
		request{"/v1/images", `{"messageId":"` + picture + `","userId":"1234567"}`, http.StatusAccepted, nil},
		request{"/v1/images", `{"messageId":"nobody","userId":"u"}`, http.StatusAccepted, nil},
	)
}
