package webhookapi_test

import (
	"fmt"
	"strings"
	"testing"

	"xinghe/functions/webhook/webhookapi"
	"xinghe/shared/beebot"
	"xinghe/shared/env"
	"xinghe/shared/queue"
	"xinghe/shared/sign"
	"xinghe/shared/xingchen"
	"xinghe/testlocal/natstest"
)

// TestSourcesAreCheckedAtTheStart names source and field of whatever is wrong with them.
func TestSourcesAreCheckedAtTheStart(t *testing.T) {
	t.Parallel()
	q, err := queue.New(natstest.New(t).JetStream(), queue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	client, err := xingchen.New(xingchen.Config{BaseURL: "http://127.0.0.1:1", APIKey: sign.NewSecret("k")})
	if err != nil {
		t.Fatal(err)
	}
	const secret = "0123456789abcdef"
	check := func(text string, upstream *xingchen.Client) error {
		list, err := webhookapi.ParseSources(sign.NewSecret(text), named)
		if err != nil {
			return err
		}
		_, err = webhookapi.New(webhookapi.Config{Sources: list, Queue: q, Xingchen: upstream, Robots: []beebot.Robot{{ID: "b"}}})
		return err
	}
	standard := func(rest string) string {
		return `[{"name":"s","standard":{"secrets":["` + current + `"]},` + rest + `}]`
	}
	signed := func(rest string) string {
		return `[{"name":"s","action":"publish","hmac":{"secrets":["` + secret + `"],"header":"X-S"` + rest + `}}]`
	}
	secrets := func(list string) string { return strings.Replace(signed(""), `["`+secret+`"]`, list, 1) }
	header := func(name string) string { return strings.Replace(signed(""), `"X-S"`, name, 1) }
	const reminder = `"action":"reminder","fields":{"characterId":"c","userId":"u","content":"x"}`
	for text, parts := range map[string][]string{
		``:                       {"not a JSON list of sources: the body is empty"},
		`{}`:                     {"not a JSON list"},
		`[]`:                     {"no sources"},
		`[7]`:                    {"source 1"},
		`[{"name":"s"`:           {"not a JSON list"},
		`[{"name":"s","x":1}]`:   {`source "s": x: is not a known field`},
		`[{"name":"S"}]`:         {"name: want", "standard: missing"},
		`[{"action":"publish"}]`: {"source 1: name: want"},
		`[{"name":"s","standard":{},"hmac":{},"action":"publish"}]`:                                                              {`source "s": hmac: stands beside standard`},
		`[{"name":"s","standard":{"secrets":["x"]},"action":"publish"}]`:                                                         {`source "s": standard: secrets: secret 1 of 1`, "whsec_"},
		`[{"name":"s","standard":{"secrets":[]},"action":"publish"}]`:                                                            {"standard: secrets"},
		`[{"name":"s","standard":{"secrets":["` + current + `"],"tolerance":"2h"}}]`:                                             {"standard: tolerance: must be 1s to 1h"},
		`[{"name":"s","standard":{"secrets":["` + current + `"],"tolerance":"soon"}}]`:                                           {"soon"},
		`[` + standard(`"action":"publish"`)[1:len(standard(`"action":"publish"`))-1] + `,` + standard(`"action":"publish"`)[1:]: {"name: stands twice"},

		standard(`"action":"dance"`):                         {`source "s": action: "dance" is none of ask, export, publish, rating, reminder`},
		standard(`"fields":{}`):                              {`action: "" is none`},
		standard(`"action":"publish","fields":{"x":1}`):      {`fields.x: is not a known field`},
		standard(`"action":"publish","when":{"type":"x"}`):   {`when.type: "type" is no JSON Pointer`},
		standard(`"action":"publish","when":{"/a~2":"x"}`):   {`when./a~2`},
		standard(`"action":"publish","when":{"/type":{}}`):   {`when./type: want a text`},
		standard(`"action":"publish","when":{"/type":[]}`):   {`when./type: want a text`},
		standard(`"action":"publish","when":{"/type":null}`): {`when./type: want a text`},

		standard(`"action":"reminder"`): {`fields.characterId: missing`, `fields.content: missing`, `fields.userId: missing`},
		standard(`"action":"reminder","fields":{"characterId":"c","userId":{"pointer":"id"},"content":"x"}`):                 {`fields.userId: "id" is no JSON Pointer`},
		standard(`"action":"reminder","fields":{"characterId":"c","userId":{"pointer":"/id","x":1},"content":"x"}`):          {`fields.userId: x: is not a known field`},
		standard(`"action":"reminder","fields":{"characterId":"c","userId":{"pointer":"/id","template":"x"},"content":"x"}`): {`fields.userId: pointer stands beside template`},
		standard(`"action":"reminder","fields":{"characterId":"c","userId":"u","content":{"template":"{/a"}}`):               {`fields.content: {/a: no }`},
		standard(`"action":"reminder","fields":{"characterId":"","userId":"u","content":"x"}`):                               {`fields.characterId: missing`},
		standard(`"action":"reminder","fields":{"characterId":7,"userId":"u","content":"x"}`):                                {`fields.characterId: want a text`},
		standard(`"action":"reminder","fields":{"characterId":"c","userId":"u","content":"x","to":{"pointer":"/x"}}`):        {`fields.to: is not a known field`},

		standard(`"action":"rating","fields":{"messageId":"m"}`):                                                                                                     {`fields.rating: missing`},
		standard(`"action":"rating","fields":{"messageId":{"pointer":"/m"},"rating":9}`):                                                                             {`fields.rating: must be`},
		standard(`"action":"export","fields":{"name":{"pointer":"/n"},"characters":"my"}`):                                                                           {`fields.users: missing`, `fields.from: missing`},
		standard(`"action":"export","fields":{"name":"n","characters":"my","users":"directory","from":{"pointer":"/f"},"to":{"pointer":"/t"},"format":"xml"}`):       {`fields.format: "xml" is not supported`},
		standard(`"action":"export","fields":{"name":"n","characters":"my","users":"directory","from":{"pointer":"/f"},"to":{"pointer":"/t"},"sink":{"type":"s3"}}`): {`fields.sink.type: this deployment writes to "folder"`},

		standard(`"action":"ask","fields":{"bot":"b","userId":"u","text":"x"}`):                           {`fields.bot: want character:`},
		standard(`"action":"ask","fields":{"bot":"beebot:b","userId":"u","text":"x"}`):                    {`fields.bot: BEEBOT_INSTANCES does not list`},
		standard(`"action":"ask","fields":{"bot":"character:c","userId":"u","text":"x","sessionId":"s"}`): {`fields.sessionId: only robots`},
		standard(`"action":"ask","fields":{"bot":{"pointer":"/b"}}`):                                      {`fields.text: missing`, `fields.userId: missing`},

		strings.Replace(standard(reminder), current, "env:NONE", 1): {`source "s": standard: secrets: secret 1 of 1: the variable NONE is not set`},
		secrets(`["short"]`):           {"hmac: secrets: secret 1 of 1: shorter than 16 bytes"},
		secrets(`[]`):                  {"hmac: secrets: missing"},
		header(`""`):                   {"hmac: header: missing"},
		header(`"X S"`):                {`header: "X S" is no name of a header`},
		signed(`,"header":"X-T"`):      {"hmac.header: stands more than once"},
		signed(`,"encoding":"base32"`): {`encoding: "base32" is neither`},
		signed(`,"id":{"header":"X-I","pointer":"/id"}`):         {"id.pointer: stands beside header"},
		signed(`,"id":{"pointer":"id"}`):                         {`id.pointer: "id" is no JSON Pointer`},
		signed(`,"id":{"header":"X:I"}`):                         {`id.header: "X:I" is no name`},
		signed(`,"id":{"x":1}`):                                  {"x: is not a known field"},
		signed(`,"tolerance":"5m"`):                              {"tolerance: stands without timestamp"},
		signed(`,"timestamp":"X-T","signs":"{body}"`):            {"signs: want {timestamp}"},
		signed(`,"timestamp":"X-T","signs":"{timestamp}"`):       {"signs: want {body}"},
		signed(`,"timestamp":"X-T","signs":"{timestamp}{body}"`): {"signs: want something between"},
		signed(`,"signs":"{timestamp}.{body}"`):                  {"signs: holds {timestamp}"},
		signed(`,"signs":"{body}{body}"`):                        {"signs: want {body} in it, once"},
	} {
		err := check(text, client)
		if err == nil {
			t.Errorf("taken: %s", text)
			continue
		}
		for _, part := range parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s\n%v\ndoes not tell %q", text, err, part)
			}
		}
		if strings.Contains(err.Error(), current) || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "short") && !strings.Contains(err.Error(), "shorter") {
			t.Errorf("a secret is told: %v", err)
		}
	}
	for _, text := range []string{
		standard(reminder), strings.Replace(standard(reminder), current, "env:STANDARD", 1), secrets(`["env:HMAC"]`), standard(`"action":"publish"`), sources, signed(""), signed(`,"signs":"<{body}>","id":{"pointer":""}`),
		signed(`,"timestamp":"X-T","signs":"{body}|{timestamp}","tolerance":"1h"`),
		standard(`"action":"export","fields":{"name":{"pointer":"/n"},"characters":"my","users":{"pointer":"/u"},"watermark":{"name":"w","lag":"5m"}}`),
		standard(`"action":"ask","fields":{"bot":{"pointer":"/b"},"userId":"u","text":{"template":"{/q}?"}}`),
	} {
		if err := check(text, client); err != nil {
			t.Errorf("%s\n%v", text, err)
		}
	}
	if err := check(standard(reminder), nil); err == nil || !strings.Contains(err.Error(), `source "s": action: reminder wants XINGCHEN_API_KEY`) {
		t.Errorf("without a client: %v", err)
	}
}

// named finds the secrets that sources name.
func named(name string) sign.Secret {
	return sign.NewSecret(map[string]string{"STANDARD": current, "HMAC": hubKey}[name])
}

// TestFromEnv tells of sources that are missing.
func TestFromEnv(t *testing.T) {
	t.Parallel()
	for text, part := range map[string]string{"": "XINGHE_WEBHOOK_SOURCES: missing", "[{]": "XINGHE_WEBHOOK_SOURCES: not a JSON list"} {
		vars := env.New(func(name string) string { return map[string]string{webhookapi.EnvSources: text}[name] })
		if webhookapi.FromEnv(vars); vars.Err() == nil || !strings.Contains(vars.Err().Error(), part) {
			t.Errorf("%q: %v", text, vars.Err())
		}
	}
	vars := env.New(func(name string) string {
		return map[string]string{webhookapi.EnvSources: sources, "XINGHE_SINK": "s3://bucket/x", "XINGCHEN_API_KEY": "k"}[name]
	})
	if cfg := webhookapi.FromEnv(vars); vars.Err() != nil || len(cfg.Sources) != 8 || cfg.Sink != "s3" || cfg.Xingchen == nil {
		t.Errorf("%+v %v", cfg, vars.Err())
	}
}

// FuzzParseSources looks for texts that break the reading of sources.
func FuzzParseSources(f *testing.F) {
	f.Add(sources)
	f.Add(`[{"name":"s","hmac":{"secrets":["0123456789abcdef"],"header":"h","signs":"{body}","id":{"pointer":"/~1/~0"}},"when":{"":1},"fields":{"a":{"template":"{/a}{/"}}}]`)
	f.Fuzz(func(t *testing.T, text string) {
		list, err := webhookapi.ParseSources(sign.NewSecret(text), named)
		if err == nil && len(list) == 0 {
			t.Error("nothing, and no error")
		}
	})
}

func ExampleParseSources() {
	list, err := webhookapi.ParseSources(sign.NewSecret(`[{
		"name": "shop", "standard": {"secrets": ["whsec_Y3VycmVudC1zZWNyZXQtb2YtdGhlLXRlc3Rz"]},
		"when": {"/type": "order.shipped"}, "action": "reminder",
		"fields": {"characterId": "c1", "userId": {"pointer": "/customer"}, "content": {"template": "您的订单 {/order} 已发货"}}
	}]`), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(list[0].Name)
	// Output: shop
}
