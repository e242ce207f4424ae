package beebot_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"xinghe/testlocal/emulator/beebot"
)

func ExampleNew() {
	bots, err := beebot.ParseBots(strings.NewReader(`
bots:
  - id: shop
    knowledge:
      - {id: "1", title: 如何退货, content: 七天之内可以退货}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	server, err := beebot.New(beebot.Config{Bots: bots, Assume: beebot.Assumptions{StrictStream: true}})
	if err != nil {
		fmt.Println(err)
		return
	}
	answer := httptest.NewRecorder()
	server.ServeRPC(answer, httptest.NewRequest(http.MethodPost, "/?Action=Chat", nil))
	fmt.Println(answer.Code, strings.Contains(answer.Body.String(), "MissingVersion"))
	// Output: 400 true
}
