package webhookapi_test

import (
	"os"
	"strings"
	"testing"

	"xinghe/functions/webhook/webhookapi"
	"xinghe/shared/beebot"
	"xinghe/shared/sign"
)

// TestPage holds that the sources which the documents show are good.
func TestPage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	robots, err := beebot.New(beebot.Config{Credentials: beebot.StaticCredentials(beebot.Credentials{AccessKeyID: "id", AccessKeySecret: sign.NewSecret("s")})})
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../../docs/inbound-webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), "```json\n")[1:]
	if len(blocks) != 3 {
		t.Fatalf("%d blocks", len(blocks))
	}
	for _, block := range blocks {
		text, _, _ := strings.Cut(block, "```")
		list, err := webhookapi.ParseSources(sign.NewSecret(text), func(string) sign.Secret { return sign.NewSecret(current) })
		if err == nil {
			_, err = webhookapi.New(webhookapi.Config{
				Sources: list, Queue: b.queue, Xingchen: b.client, Beebot: robots, Robots: []beebot.Robot{{ID: "chatbot-cn-local"}},
			})
		}
		if err != nil {
			t.Errorf("%s\n%v", text, err)
		}
	}
}
