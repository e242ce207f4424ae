//go:build !race

package runtimes

import "testing"

// TestSize holds that what is uploaded is at most twice the smallest function there is; chat
// is the largest of ours.
func TestSize(t *testing.T) {
	t.Parallel()
	ours, theirs := zipped(t, program(t, "chat")), zipped(t, program(t, "minimal"))
	if ratio := ours / theirs; ratio > 2 {
		t.Errorf("%.1f MB zipped are %.2f times the smallest function's %.1f MB", ours/1e6, ratio, theirs/1e6)
	}
}
