package messageapi_test

import (
	"testing"

	"go.uber.org/goleak"

	"xinghe/testlocal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }
