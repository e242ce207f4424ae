package faas

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

// serveLambda is both entries of Lambda: requests are streamed by lambda-url and buffered by
// lambda-event; events are the same in both. The library never returns. It registers an
// internal extension, without which Lambda would send SIGKILL only.
func serveLambda(ctx context.Context, i *instance) error {
	l := &lambdaEntry{instance: i, stream: i.cfg.Entry == EntryLambdaURL}
	go lambda.StartHandlerFunc(l.invoke, lambda.WithContext(i.base), lambda.WithEnableSIGTERM()) //nolint:contextcheck // outlives ctx by the grace
	<-ctx.Done()
	return nil
}

type lambdaEntry struct {
	*instance
	stream bool
}

// invoke takes one invocation.
func (l *lambdaEntry) invoke(ctx context.Context, payload json.RawMessage) (*lambdaAnswer, error) {
	end := l.begin(ctx)
	deadline, limited := ctx.Deadline()
	ctx, cancel := within(ctx, deadline, limited)
	finish := func() {
		cancel()
		end()
	}
	id := ""
	if call, ok := lambdacontext.FromContext(ctx); ok {
		id = call.AwsRequestID
	}
	answer, err := l.answer(ctx, payload, id)
	if err != nil {
		finish()
		return nil, err
	}
	answer.finish = append(answer.finish, finish)
	return answer, nil
}

func (l *lambdaEntry) answer(ctx context.Context, payload json.RawMessage, id string) (*lambdaAnswer, error) {
	kind := open(payload)
	switch {
	case kind.isRequest("2.0") && l.stream:
		return l.streamed(ctx, payload, id)
	case kind.isRequest("2.0"):
		out, err := l.buffered(ctx, payload, id)
		if err != nil {
			return nil, err
		}
		return jsonAnswer(json.Marshal(out.httpAnswer(true)))
	case kind.isOldRequest():
		return nil, errOldRequest
	case kind.Records != nil:
		return jsonAnswer(l.batch(ctx, kind.Records))
	}
	return jsonAnswer(l.handle(ctx, lambdaEventOf(payload, id, l.cfg.Now())))
}

// lambdaAnswer is what the library posts: it reads to the end, and closes before it asks
// for the next invocation. Until then the instance is not frozen, and the caller has the
// answer.
type lambdaAnswer struct {
	io.Reader
	contentType string
	finish      []func()
}

func jsonAnswer(body json.RawMessage, err error) (*lambdaAnswer, error) {
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		body = json.RawMessage("null")
	}
	return &lambdaAnswer{Reader: bytes.NewReader(body), contentType: "application/json"}, nil
}

// ContentType is asked for by the library.
func (a *lambdaAnswer) ContentType() string { return a.contentType }

// MarshalJSON fails: by that the library knows that the answer is to be read.
func (a *lambdaAnswer) MarshalJSON() ([]byte, error) { return nil, errNotJSON }

var errNotJSON = errors.New("an answer to be read")

// Close is called by the library.
func (a *lambdaAnswer) Close() error {
	for _, finish := range a.finish {
		finish()
	}
	return nil
}
