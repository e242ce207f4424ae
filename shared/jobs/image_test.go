package jobs_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/jobs"
)

func TestImageKey(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"a4d8ae9dbcd54d9196cd20afeb7a3059":     "a4d8ae9dbcd54d9196cd20afeb7a3059",
		"8b9df7b9-f15b-4377-9e41-9a3e75ca6af7": "8b9df7b9-f15b-4377-9e41-9a3e75ca6af7",
		"AbC":                                  "=41b=43",
		"../../etc":                            "=2e=2e=2f=2e=2e=2fetc",
		"a.b *>":                               "a=2eb=20=2a=3e",
		"=41":                                  "=3d41",
		"图":                                    "=e5=9b=be",
	} {
		if got := jobs.ImageKey(id); got != want {
			t.Errorf("%q: %q, want %q", id, got, want)
		}
	}
}

func FuzzImageKey(f *testing.F) {
	f.Add("a", "A")
	f.Add("=41", "A")
	f.Add("a/b", "a.b")
	f.Fuzz(func(t *testing.T, a, b string) {
		key := jobs.ImageKey(a)
		if a != b && strings.EqualFold(key, jobs.ImageKey(b)) {
			t.Errorf("%q and %q share the key %q", a, b, key)
		}
		if a != "" && (!filepath.IsLocal(key) || strings.ContainsAny(key, `/\. *>`)) {
			t.Errorf("%q has the key %q", a, key)
		}
	})
}

func TestImageRequestCheck(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		request jobs.ImageRequest
		fields  []string
	}{
		{"good", jobs.ImageRequest{MessageID: "8b9df7b9-f15b-4377-9e41-9a3e75ca6af7", UserID: "用户 1"}, nil},
		{"empty", jobs.ImageRequest{}, []string{"messageId", "userId"}},
		{"long", jobs.ImageRequest{MessageID: strings.Repeat("m", 65), UserID: strings.Repeat("u", 257)}, []string{"messageId", "userId"}},
		{"as long as can be", jobs.ImageRequest{MessageID: strings.Repeat("m", 64), UserID: strings.Repeat("u", 256)}, nil},
		{"lines", jobs.ImageRequest{MessageID: "a\nb", UserID: "\x00"}, []string{"messageId", "userId"}},
	} {
		var got []string
		for _, fault := range tc.request.Check() {
			got = append(got, fault.Field)
		}
		if diff := cmp.Diff(tc.fields, got); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
	}
}

func TestImageBegin(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)
	job := jobs.ImageJob{ImageRequest: jobs.ImageRequest{MessageID: "m", UserID: "u"}, Round: 2, RequestedAt: at}
	reason := "it failed"
	image := jobs.Image{MessageID: "m", UserID: "other", State: jobs.ImageFailed, Round: 1, Error: &reason, EndedAt: &at}
	if !image.Begin(job) {
		t.Error("a new round does not begin")
	}
	data, err := json.Marshal(image)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"messageId":"m","userId":"u","state":"pending","files":[],"error":null,"round":2,"requestedAt":"2024-05-01T00:00:00Z"}`
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Error(diff)
	}
	image.State = jobs.ImageReady
	if image.Begin(job) || image.State != jobs.ImageReady {
		t.Error("a round begins twice")
	}
	for state, ended := range map[jobs.ImageState]bool{jobs.ImagePending: false, jobs.ImageReady: true, jobs.ImageFailed: true, jobs.ImageExpired: true} {
		if state.Ended() != ended {
			t.Errorf("%s ended: %v", state, !ended)
		}
	}
}
