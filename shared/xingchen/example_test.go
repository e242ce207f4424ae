package xingchen_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"xinghe/shared/sign"
	"xinghe/shared/upstream"
	"xinghe/shared/xingchen"
)

// standIn stands in for the service.
func standIn(handler http.HandlerFunc) (client *xingchen.Client, stop func()) {
	server := httptest.NewServer(handler)
	transport := &http.Transport{}
	client, err := xingchen.New(xingchen.Config{BaseURL: server.URL, APIKey: sign.NewSecret("lm-example"), Transport: transport})
	if err != nil {
		panic(err)
	}
	return client, func() { transport.CloseIdleConnections(); server.Close() }
}

func ExampleClient_Stream() {
	client, stop := standIn(answerSSE(
		`data:{"choices":[{"messages":[{"role":"assistant","content":"我今年"}],"stopReason":"null"}],"stop":false}` + "\n\n" +
			`data:{"choices":[{"messages":[{"role":"assistant","content":"17岁了"}],"stopReason":"stop"}],"stop":true}` + "\n\n"))
	defer stop()

	stream, err := client.Stream(context.Background(), xingchen.ChatRequest{
		Input: xingchen.ChatInput{
			Messages: []xingchen.Message{{Role: "user", Content: "你多大了?"}},
			ACA: xingchen.ACA{
				BotProfile:  xingchen.BotProfile{CharacterID: "c39797a35ad243f1a85baaa6e1ec37e0"},
				UserProfile: xingchen.UserProfile{UserID: "1234567"},
			},
		},
		Parameters: &xingchen.Parameters{IncrementalOutput: true},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = stream.Close() }()
	for frame, err := range stream.Frames() {
		if errors.Is(err, upstream.ErrTruncated) {
			fmt.Println("(the answer broke off)")
			return
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Print(frame.Text())
	}
	fmt.Println()
	// Output: 我今年17岁了
}

func ExampleError() {
	client, stop := standIn(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		answerJSON(`{"requestId":"r1","success":false,"code":404,"errorMessage":"Not Found","errorMessageKey":"aca.error.notfound"}`)(w, r)
	})
	defer stop()

	_, err := client.CharacterDetails(context.Background(), xingchen.CharacterRef{CharacterID: "nobody"})
	if refused, ok := errors.AsType[*xingchen.Error](err); ok {
		fmt.Println(refused.Kind(), refused.Retryable(), refused.RequestID)
	}
	// Output: not_found false r1
}
