package beebot_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"xinghe/shared/beebot"
	"xinghe/shared/sign"
)

// standIn stands in for the service.
func standIn(rpc, stream string) (client *beebot.Client, stop func()) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/sse/"):
			answerSSE(stream)(w, r)
		case r.URL.Query().Get("Action") == "Chat":
			answerJSON(rpc)(w, r)
		default:
			answerJSON(`{"AccessToken":"a","ChannelId":"b","StreamSecret":"c"}`)(w, r)
		}
	}))
	transport := &http.Transport{}
	client, err := beebot.New(beebot.Config{
		Endpoint: server.URL, StreamURL: server.URL, Transport: transport,
		Credentials: beebot.StaticCredentials(beebot.Credentials{AccessKeyID: "id", AccessKeySecret: sign.NewSecret("secret")}),
	})
	if err != nil {
		panic(err)
	}
	return client, func() { _ = client.Close(); transport.CloseIdleConnections(); server.Close() }
}

func ExampleClient_Stream() {
	client, stop := standIn("", events(says("我是个", false), says("我是个大模型", false), says("我是小模型。", true)))
	defer stop()

	stream, err := client.Stream(context.Background(), beebot.StreamRequest{InstanceID: "chatbot-cn-x", Utterance: "你是谁?"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for snapshot, err := range stream.Snapshots() {
		switch {
		case err != nil:
			fmt.Println(err)
		case snapshot.Replace:
			fmt.Println("instead:", snapshot.Delta)
		default:
			fmt.Println("more:", snapshot.Delta)
		}
	}
	// Output:
	// more: 我是个
	// more: 大模型
	// instead: 我是小模型。
}

func ExampleClient_Chat() {
	client, stop := standIn(`{"SessionId":"s","Messages":[{"AnswerType":"Text","Text":{"AnswerSource":"COMMANDS",
		"Content":"正在为您转接人工客服","Commands":{"sysToAgent":"{\"skillGroup\":\"12\"}"}}}]}`, "")
	defer stop()

	response, err := client.Chat(context.Background(), beebot.ChatRequest{InstanceID: "chatbot-cn-x", Utterance: "转人工"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, answer := range response.Answers {
		text, _ := answer.Content()
		fmt.Println(answer.Kind, text)
		if answer.Handover != nil {
			fmt.Println("hand over to group", answer.Handover.SkillGroup)
		}
	}
	// Output:
	// text 正在为您转接人工客服
	// hand over to group 12
}
