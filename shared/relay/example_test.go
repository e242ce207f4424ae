package relay_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"xinghe/shared/relay"
)

func ExampleCompletion_Tell() {
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/v1/chat/completions", nil)
	completion := relay.Completion{Model: "beebot:chatbot-cn-x", Created: time.Unix(1716342894, 0), Stream: true}
	if err := completion.Tell(w, r, relay.Reply{MessageID: "m", SessionID: "s", Choices: []relay.ReplyChoice{{Text: "您好"}}}); err != nil {
		fmt.Println(err)
	}
	fmt.Println("session", w.Header().Get("X-Session-Id"))
	fmt.Print(w.Body.String())
	// Output:
	// session s
	// data: {"id":"chatcmpl-m","object":"chat.completion.chunk","created":1716342894,"model":"beebot:chatbot-cn-x","system_fingerprint":"fp_xinghe","session_id":"s","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}]}
	//
	// data: {"id":"chatcmpl-m","object":"chat.completion.chunk","created":1716342894,"model":"beebot:chatbot-cn-x","system_fingerprint":"fp_xinghe","session_id":"s","choices":[{"index":0,"delta":{"content":"您好"},"logprobs":null,"finish_reason":null}]}
	//
	// data: {"id":"chatcmpl-m","object":"chat.completion.chunk","created":1716342894,"model":"beebot:chatbot-cn-x","system_fingerprint":"fp_xinghe","session_id":"s","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}
	//
	// data: [DONE]
}
