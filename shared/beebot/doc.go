// Package beebot is a client of Beebot (智能对话机器人, edition 通义), version 2022-04-08: the RPC
// calls ApplyForStreamAccessToken and Chat, and the signed stream TongyiBeebotChat. It
// follows the official documentation pages "Beebot", cited at each call.
//
//	client, err := beebot.New(beebot.Config{Credentials: beebot.StaticCredentials(credentials)})
//	...
//	defer client.Close()
//	stream, err := client.Stream(ctx, beebot.StreamRequest{InstanceID: id, Utterance: "你好"})
//	...
//	defer stream.Close()
//	for snapshot, err := range stream.Snapshots() {
//		...
//	}
//
// The service sends the whole text so far with every frame. A [Decoder] turns that into what
// is new, and says honestly when the service took back what it had said.
//
// What upstream answers instead of a result is an [*Error]; all else that can go wrong is a
// failure of package upstream, or the error of the caller's own context. No text of them
// carries a key, a token, a signature or an address.
//
// The client repeats one thing only: a stream that is refused for its credentials before it
// has begun is opened once more with new ones, under the same message id. All else is the
// caller's, as [Error.Retryable] advises.
//
// The SDK under the RPC calls prints requests whole, signature and token included, where the
// environment variable DEBUG names "sdk". Do not set it in production.
package beebot
