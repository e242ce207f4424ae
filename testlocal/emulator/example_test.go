package emulator_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"xinghe/testlocal/emulator"
)

func ExampleNew() {
	emu, err := emulator.New(emulator.Config{Pace: emulator.NoPace})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = emu.Close() }()
	server := httptest.NewServer(emu)
	defer server.Close()

	body := `{"input":{"messages":[{"role":"user","content":"你有几个闺蜜?"}],"aca":{
		"botProfile":{"characterId":"ef693021ffdf403489ce4724005831ad"},"userProfile":{"userId":"123456789"}}}}`
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, server.URL+"/v2/api/chat/send", strings.NewReader(body))
	if err != nil {
		fmt.Println(err)
		return
	}
	req.Header.Set("Authorization", "Bearer "+emulator.DefaultXingchenKey)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("x-fag-appcode", "aca")
	req.Header.Set("x-fag-servicename", "aca-chat-send")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	answer, _ := io.ReadAll(resp.Body)
	fmt.Println(resp.StatusCode, strings.Contains(string(answer), "你多大了?"))
	// Output: 200 true
}
