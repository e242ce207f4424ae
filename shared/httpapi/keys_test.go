package httpapi_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/httpapi"
)

// keysFile is a file of keys, a clock, and a surface that heeds both.
type keysFile struct {
	bundle
	t    *testing.T
	path string
	now  time.Time
}

func newKeysFile(t *testing.T, text string) *keysFile {
	t.Helper()
	f := &keysFile{bundle: bundle{log: new(bytes.Buffer)}, t: t, path: filepath.Join(t.TempDir(), "keys"), now: time.Now()}
	f.put(text)
	keys, err := httpapi.KeysFromFile(f.path)
	if err != nil {
		t.Fatal(err)
	}
	clock := func() time.Time { return f.now }
	httpapi.SetClock(keys, clock)
	f.handler, err = httpapi.New(httpapi.Config{Keys: keys, Logger: zerolog.New(f.log), Now: clock},
		httpapi.Route{Pattern: "GET /x", Scope: httpapi.ScopeChat, Handler: ok})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// put writes the file, always with the same time, as a coarse clock does.
func (f *keysFile) put(text string) {
	f.t.Helper()
	err := os.WriteFile(f.path, []byte(text), 0o600)
	if err = errors.Join(err, os.Chtimes(f.path, time.Unix(1, 0), time.Unix(1, 0))); err != nil {
		f.t.Fatal(err)
	}
}

// want checks the status that keys get, once the file is looked at again.
func (f *keysFile) want(status map[string]int) {
	f.t.Helper()
	f.now = f.now.Add(2 * time.Second)
	for key, want := range status {
		if got := f.do("GET", "/x", key, "").Code; got != want {
			f.t.Errorf("key %s: %d, want %d", key, got, want)
		}
	}
}

func TestKeysFileIsReadAgain(t *testing.T) {
	t.Parallel()
	f := newKeysFile(t, "first")
	f.want(map[string]int{"first": 200, "second": 401})
	f.put("other,second")
	if got := f.do("GET", "/x", "first", "").Code; got != 200 {
		t.Errorf("the file is read at each request: %d", got)
	}
	f.want(map[string]int{"first": 401, "second": 200, "other": 200})
	if !strings.Contains(f.log.String(), `"keys":2,"message":"keys were read again"`) {
		t.Errorf("not logged: %s", f.log)
	}
}

func TestBrokenKeysFileLeavesTheFormerKeys(t *testing.T) {
	t.Parallel()
	const complaint = `"message":"keys were not read again; the former ones hold"`
	f := newKeysFile(t, "first")
	for i, broken := range []string{
		"[", "", ",", `{"name":"all","sha256":"x"}`, `"first"`, `[{"name":"a","sha256":"zz"}]`, `[]`, `[{"name":"a","scope":["chat"]}]`,
		fmt.Sprintf(`[{"name":"a","sha256":%q,"scopes":["chat"]}] x`, digest("second")), strings.Repeat("x", 2<<20),
	} {
		f.put(broken)
		f.log.Reset()
		f.want(map[string]int{"first": 200, "second": 401})
		f.want(map[string]int{"first": 200})
		if got := strings.Count(f.log.String(), complaint); got != 1 || !strings.Contains(f.log.String(), `"level":"error"`) {
			t.Errorf("%d: complained %d times: %s", i, got, f.log)
		}
	}
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	f.log.Reset()
	f.want(map[string]int{"first": 200})
	if !strings.Contains(f.log.String(), complaint) {
		t.Errorf("a file that is gone: %s", f.log)
	}
	f.put("first")
	f.log.Reset()
	f.want(map[string]int{"first": 200})
	if !strings.Contains(f.log.String(), "again what it was") {
		t.Errorf("not told that it is well: %s", f.log)
	}
	f.put("second")
	f.want(map[string]int{"first": 401, "second": 200})
}

func TestChangedFileKeepsWhatARateHasUsed(t *testing.T) {
	t.Parallel()
	entry := func(name string, rps float64, scopes string) string {
		return fmt.Sprintf(`{"name":%q,"sha256":%q,"scopes":[%s],"rps":%g}`, name, digest(name), scopes, rps)
	}
	f := newKeysFile(t, "["+entry("slow", 0.01, `"chat"`)+"]")
	f.want(map[string]int{"slow": 200})
	f.put("[" + entry("new", 0, `"export"`) + "," + entry("slow", 0.01, `"chat","export"`) + "]")
	f.want(map[string]int{"slow": 429, "new": 403})
	f.put("[" + entry("slow", 5, `"chat"`) + "]")
	f.want(map[string]int{"slow": 200, "new": 401})
}

func TestParseKeysNamesEveryFault(t *testing.T) {
	t.Parallel()
	_, err := httpapi.ParseKeys(fmt.Sprintf(`[{"name":"","sha256":"zz","scopes":["chta"],"rps":-1},
		{"name":"a","sha256":%q},{"name":"b","sha256":%q}]`, digest("same"), digest("same")))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"key 0: sha256", "name: missing", "chta", "rps", "key 2: sha256: stands twice"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in %v", want, err)
		}
	}
	for _, text := range []string{"", " , ", "[", "two words", `{"a":1}`} {
		if _, err := httpapi.ParseKeys(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func TestAuthorizationHeader(t *testing.T) {
	t.Parallel()
	keys, err := httpapi.ParseKeys("k, local-dev")
	if err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]string{
		"Bearer k": "key-1", "bearer k": "key-1", "Bearer  local-dev ": "key-2",
		"": "", "k": "", "Bearer": "", "Bearer ": "", "Basic k": "", "Bearer kk": "", "Bearer k,local-dev": "",
	} {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		r.Header.Set("Authorization", header)
		key, err := keys.Authenticate(r)
		if (err == nil) != (want != "") || err == nil && key.Name != want {
			t.Errorf("%q: %v %v, want %q", header, key, err, want)
		}
	}
}
