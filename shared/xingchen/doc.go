// Package xingchen is a client of the Xingchen (通义星尘) HTTP API, version 2: characters that
// chat, their histories and everything around them. It follows the official documentation
// pages "Xingchen HTTP API", cited at each call.
//
//	client, err := xingchen.New(xingchen.Config{APIKey: key})
//	...
//	stream, err := client.Stream(ctx, request)
//	...
//	defer stream.Close()
//	for frame, err := range stream.Frames() {
//		...
//	}
//
// There are two layers. [Client.Do] and [Client.Open] carry a body untouched, for a relay
// that must not lose fields it does not know. [Client.Chat], [Client.Stream],
// [Client.Histories] and the others speak in types.
//
// What upstream answers instead of a result is an [*Error]; all else that can go wrong is a
// failure of package upstream, or the error of the caller's own context. No text of them
// carries a key.
//
// The client never retries. A chat call is not idempotent where the platform keeps the
// history (a repeat stores the question twice), and a retry below a caller who retries too
// doubles what is billed. Callers may repeat [Client.Histories] and other reads as
// [Error.Retryable] advises.
package xingchen
