package userdata

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/jobs"
	"xinghe/shared/sink"
)

var noon = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

const original = `{
"version": 1,
"id": "exp_1",
"spec": {"name":"n","users":["u","v"],"later":{"known":"<not>"}},
"complete": true,
"parts": [
{"path":"n/exp_1/000000-00000.jsonl","window":0,"rows":3,"bytes":30,"sha256":"aa"},
{"path":"n/exp_1/000001-00000.jsonl","window":1,"rows":2,"bytes":20,"sha256":"bb","new":1}],
"windows": [
{"number":0,"characterId":"c","userId":"u","from":"2024-05-01T00:00:00Z","to":"2024-05-02T00:00:00Z","totalBefore":4,"totalAfter":4,"rows":3,"filtered":1,"leftOut":{"cut":1},"redacted":{"phone":2}},
{"number":1,"characterId":"c","userId":"v","from":"2024-05-01T00:00:00Z","to":"2024-05-02T00:00:00Z","totalBefore":2,"totalAfter":2,"rows":2}],
"failed": [
{"number":2,"characterId":"d","userId":"u","reason":"gone: user u"}],
"previous": {"id":"exp_0","sha256":"cc"},
"filtered": 1,
"leftOut": {"cut":1,"empty":4},
"redacted": {"email":1,"phone":3},
"duplicatesDropped": 0,
"rows": 5
}
`

const rewritten = `{
"version": 1,
"id": "exp_1",
"spec": {"later":{"known":"<not>"},"name":"n","users":["[erased]","v"]},
"complete": true,
"parts": [
{"path":"n/exp_1/000001-00000.jsonl","window":1,"rows":2,"bytes":20,"sha256":"bb","new":1}],
"windows": [
{"number":0,"characterId":"c","userId":"[erased]","from":"2024-05-01T00:00:00Z","to":"2024-05-02T00:00:00Z","totalBefore":0,"totalAfter":0,"rows":0},
{"number":1,"characterId":"c","userId":"v","from":"2024-05-01T00:00:00Z","to":"2024-05-02T00:00:00Z","totalBefore":2,"totalAfter":2,"rows":2}],
"failed": [
{"number":2,"characterId":"d","userId":"[erased]","reason":"[erased]"}],
"previous": {"id":"exp_0","sha256":"cc"},
"filtered": 0,
"leftOut": {"cut":0,"empty":4},
"redacted": {"email":1,"phone":1},
"duplicatesDropped": 0,
"rows": 2,
"erased": [
{"at":"2024-05-01T12:00:00Z","windows":2,"parts":1,"rows":3,"before":"SUM"}]
}
`

// put writes a file of a sink.
func put(t *testing.T, to sink.Sink, name, text string) {
	t.Helper()
	w, err := to.Create(t.Context(), name)
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	if err == nil {
		err = w.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, from sink.Sink, name string) string {
	t.Helper()
	var text bytes.Buffer
	if err := copyFile(t.Context(), from, name, &text); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func folder(t *testing.T) sink.Sink {
	t.Helper()
	to, err := sink.NewFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func TestManifestIsRewritten(t *testing.T) {
	t.Parallel()
	files, user := folder(t), newMatcher(User{ID: "u"})
	put(t, files, "m", original)
	m, err := readManifest(t.Context(), files, "m", &user)
	if err != nil {
		t.Fatal(err)
	}
	before := m.sha256
	if err := m.rewrite(t.Context(), files, &user, "", noon); err != nil {
		t.Fatal(err)
	}
	got := get(t, files, "m")
	if diff := cmp.Diff(strings.Replace(rewritten, "SUM", before, 1), got); diff != "" {
		t.Error(diff)
	}
	again, err := readManifest(t.Context(), files, "m", &user)
	if err != nil || again.names || again.sha256 != m.sha256 || !again.was(before) || again.rows != 2 || again.bytes != 20 {
		t.Errorf("%+v %v", again, err)
	}
	// Another hash of the manifest before it changes nothing else.
	if err := again.rewrite(t.Context(), files, &user, "dd", noon); err != nil {
		t.Fatal(err)
	}
	if got := get(t, files, "m"); !strings.Contains(got, `{"id":"exp_0","sha256":"dd"}`) || !strings.Contains(got, `"rows": 2,`) || strings.Count(got, `"before"`) != 2 {
		t.Errorf("%s", got)
	}
	var whole jobs.Manifest
	if err := json.Unmarshal([]byte(got), &whole); err != nil || len(whole.Parts) != 1 || len(whole.Windows) != 2 {
		t.Errorf("%+v %v", whole, err)
	}
}

func TestManifestOfOneBot(t *testing.T) {
	t.Parallel()
	files, user := folder(t), newMatcher(User{ID: "u", Bot: "character:c"})
	put(t, files, "m", original)
	m, err := readManifest(t.Context(), files, "m", &user)
	if err == nil {
		err = m.rewrite(t.Context(), files, &user, "", noon)
	}
	if err != nil {
		t.Fatal(err)
	}
	got := get(t, files, "m")
	if !strings.Contains(got, `"users":["u","v"]`) || !strings.Contains(got, `"userId":"u","reason"`) || strings.Contains(got, `000000-00000`) {
		t.Errorf("%s", got)
	}
}

func TestManifestThatIsNone(t *testing.T) {
	t.Parallel()
	files, user := folder(t), newMatcher(User{ID: "u"})
	for _, text := range []string{"", "[]", "{", `{"parts":{}}`, `{"parts":[1]}`, `{"windows":["x"]}`, `{"id":7}`} {
		put(t, files, "m", text)
		if _, err := readManifest(t.Context(), files, "m", &user); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}

// Whatever can be read is written so that the same can be read again.
func FuzzScan(f *testing.F) {
	f.Add([]byte(original))
	f.Add([]byte("{}"))
	f.Add([]byte(`{"parts":null,"failed":[],"x":[1,{"y":2}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		type entry struct {
			Field, Value string
			Element      bool
		}
		read := func(text []byte) (list []entry, err error) {
			err = scan(bytes.NewReader(text), func(field string, value json.RawMessage, element bool) error {
				list = append(list, entry{field, string(value), element})
				return nil
			})
			return list, err
		}
		list, err := read(text)
		if err != nil {
			return
		}
		var again bytes.Buffer
		w := newManifestWriter(&again)
		for _, e := range list {
			value := json.RawMessage(e.Value)
			write := func() error { return w.element(value) }
			if e.Value == "" {
				value = nil // a list begins
			}
			if !e.Element {
				write = func() error { return w.field(e.Field, value) }
			}
			if err := write(); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.end(); err != nil {
			t.Fatal(err)
		}
		got, err := read(again.Bytes())
		if diff := cmp.Diff(list, got); diff != "" || err != nil {
			t.Errorf("%s: %s %v", again.Bytes(), diff, err)
		}
	})
}
