//go:build !race

package relay_test

import "testing"

// Under the race detector pools lose things on purpose, so this runs without it only.

// A frame costs no allocation: what a stream allocates does not depend on its length.
func TestXingchenFramesCostNoAllocation(t *testing.T) {
	short, long := testing.AllocsPerRun(20, relayFrames(t, 100)), testing.AllocsPerRun(20, relayFrames(t, 1100))
	if perFrame := (long - short) / 1000; perFrame > 0.02 {
		t.Errorf("%.3f allocations a frame (%.0f for 100 frames, %.0f for 1100)", perFrame, short, long)
	}
}

func TestCompletionChunksCostNoAllocation(t *testing.T) {
	short, long := testing.AllocsPerRun(20, completeFrames(t, 100)), testing.AllocsPerRun(20, completeFrames(t, 1100))
	if perFrame := (long - short) / 1000; perFrame > 0.02 {
		t.Errorf("%.3f allocations a frame (%.0f for 100 frames, %.0f for 1100)", perFrame, short, long)
	}
}
