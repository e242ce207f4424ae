package natstest

import "go.uber.org/goleak"

// Leaks are goroutines of the server that outlive its shutdown now and then, if a stream is
// just being made: for goleak.VerifyTestMain.
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }
func Leaks() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"),
	}
}
