package main

import (
	"testing"

	"go.uber.org/goleak"

	"xinghe/shared/faas/faastest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBuildTouchesNoNetwork(t *testing.T) {
	t.Parallel()
	faastest.NoNetwork(t, build)
}
