package faas

import (
	"context"
	"encoding/json"
	"time"

	"github.com/aliyun/fc-runtime-go-sdk/fc"
	"github.com/aliyun/fc-runtime-go-sdk/fccontext"
)

// serveFCEvent is the entry fc-event: the runtime go1 of Function Compute, through its SDK,
// which never returns.
func serveFCEvent(ctx context.Context, i *instance) error {
	f := fcEvent{i}
	fc.RegisterInitializerFunction(func(context.Context) { i.start() })
	fc.RegisterPreStopFunction(func(context.Context) {
		if err := i.stop(); err != nil {
			i.cfg.Logger.Warn().Err(err).Msg("stopped")
		}
	})
	go fc.Start(f.invoke)
	<-ctx.Done()
	busy := i.busy()
	err := i.stop()
	if busy { // the SDK posts the answer, and does not say when it has
		posted := time.NewTimer(postWithin)
		defer posted.Stop()
		<-posted.C
	}
	return err
}

// postWithin is how long the SDK may take to hand an answer over to its platform, which is
// on the same machine.
const postWithin = 300 * time.Millisecond

type fcEvent struct{ *instance }

// invoke takes one invocation. The SDK hands a payload of []byte over as it is, and would
// answer with one as base64.
func (f fcEvent) invoke(ctx context.Context, payload []byte) (json.RawMessage, error) {
	defer f.begin(ctx)()
	var call fccontext.FcContext
	if c, ok := fccontext.FromContext(ctx); ok { // once: it writes to what it returns
		call = *c
	}
	deadline, limited := ctx.Deadline()
	ctx, cancel := within(f.base, deadline, limited) // the SDK's context does not end with the instance
	defer cancel()
	if open(payload).isRequest("v1") {
		return f.request(ctx, payload, call.RequestID) //nolint:contextcheck // as above
	}
	return f.handle(ctx, fcEventOf(payload, call.RequestID, call.RetryCount, f.cfg.Now())) //nolint:contextcheck // as above
}

// request answers a request of an HTTP trigger.
func (f fcEvent) request(ctx context.Context, payload []byte, id string) (json.RawMessage, error) {
	answer, err := f.buffered(ctx, payload, id)
	if err != nil {
		return nil, err
	}
	return json.Marshal(answer.httpAnswer(false))
}
