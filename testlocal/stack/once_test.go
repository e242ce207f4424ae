package stack_test

import (
	"net/http"
	"testing"

	"xinghe/testlocal/emulator"
)

// TestRepeatedExport starts one export, however often its request comes.
func TestRepeatedExport(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, emulator.Config{})
	const body = `{"name":"once","characters":["` + xiaowan + `"],"users":["u"],"from":"2024-05-01T00:00:00Z","to":"2024-05-02T00:00:00Z"}`
	first := b.post("/v1/exports", body, "Idempotency-Key", "k-1")
	if first.status != http.StatusAccepted || first.header.Get("Idempotency-Replayed") != "" {
		t.Fatalf("%d %s", first.status, first.body)
	}
	again := b.post("/v1/exports", body, "Idempotency-Key", "k-1")
	if again.status != http.StatusAccepted || again.body != first.body || again.header.Get("Location") != first.header.Get("Location") || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("again: %d %v %s, want %s", again.status, again.header, again.body, first.body)
	}
	if other := b.post("/v1/exports", body+" ", "Idempotency-Key", "k-1"); other.status != http.StatusConflict {
		t.Errorf("another body: %d %s", other.status, other.body)
	}
	if bad := b.post("/v1/exports", `{}`, "Idempotency-Key", "k-2"); bad.status != http.StatusBadRequest {
		t.Errorf("bad: %d %s", bad.status, bad.body)
	}
	if fixed := b.post("/v1/exports", body, "Idempotency-Key", "k-2"); fixed.status == http.StatusBadRequest || fixed.header.Get("Idempotency-Replayed") != "" {
		t.Errorf("the key of a refused request is not free: %d %s", fixed.status, fixed.body)
	}
}
