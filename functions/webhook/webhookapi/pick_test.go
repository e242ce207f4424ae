package webhookapi

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPick takes values out of a message.
func TestPick(t *testing.T) {
	t.Parallel()
	const body = `{"id":12345678901234567890,"price":1.50,"name":"小\"王","ok":true,"none":null,"list":[{"a":"x"},2],"a/b":{"m~n":"odd"},"":"blank","deep":{"{":"brace"}}`
	for spelled, want := range map[string]string{
		`"constant"`:               `"constant"`,
		`null`:                     `null`,
		`{"name":"w","lag":"5m"}`:  `{"name":"w","lag":"5m"}`,
		`{"pointer":"/id"}`:        `12345678901234567890`,
		`{"pointer":"/price"}`:     `1.50`,
		`{"pointer":"/list/0"}`:    `{"a":"x"}`,
		`{"pointer":"/a~1b/m~0n"}`: `"odd"`,
		`{"pointer":"/"}`:          `"blank"`,
		`{"template":"{/id}"}`:     `"12345678901234567890"`,
		`{"template":"{/price} für {/name}, {/ok}, {/list/0/a}{/list/1}"}`: `"1.50 für 小\"王, true, x2"`,
		`{"template":"no place { in } it {}"}`:                             `"no place { in } it {}"`,
		`{"template":""}`:                                                  `""`,
		`{"pointer":"/none"}`:                                              "nothing stands at /none in the body",
		`{"pointer":"/nothing/here"}`:                                      "nothing stands at /nothing/here in the body",
		`{"pointer":"/list/2"}`:                                            "nothing stands at /list/2 in the body",
		`{"pointer":"/list/-"}`:                                            "nothing stands at /list/- in the body",
		`{"pointer":"/name/0"}`:                                            "nothing stands at /name/0 in the body",
		`{"template":"{/none}"}`:                                           "nothing stands at /none in the body",
		`{"template":"{/list}"}`:                                           "what stands at /list in the body is no text or number",
	} {
		_, document, err := decode([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		v, err := parseValue(json.RawMessage(spelled))
		if err != nil {
			t.Errorf("%s: %v", spelled, err)
			continue
		}
		got, err := v.of(document)
		if err != nil {
			got = json.RawMessage(err.Error())
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s:\n%s", spelled, diff)
		}
	}
}

// TestCondition compares what stands at a place.
func TestCondition(t *testing.T) {
	t.Parallel()
	const body = `{"type":"paid","n":7,"big":12345678901234567891,"ok":true,"none":null,"list":["paid"]}`
	for _, tc := range []struct {
		pointer, values string
		want            bool
	}{
		{"/type", `"paid"`, true},
		{"/type", `["late","paid"]`, true},
		{"/type", `"Paid"`, false},
		{"/type", `["late"]`, false},
		{"/n", `7`, true},
		{"/n", `"7"`, false},
		{"/n", `7.0`, false}, // as they are written
		{"/big", `12345678901234567891`, true},
		{"/big", `12345678901234567890`, false},
		{"/ok", `true`, true},
		{"/ok", `[false,"true",1]`, false},
		{"/none", `false`, false},
		{"/list", `"paid"`, false},
		{"/list/0", `"paid"`, true},
		{"/nothing", `"paid"`, false},
	} {
		_, document, err := decode([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		c, err := parseCondition(tc.pointer, json.RawMessage(tc.values))
		if err != nil {
			t.Errorf("%s %s: %v", tc.pointer, tc.values, err)
			continue
		}
		if got := c.holds(document); got != tc.want {
			t.Errorf("%s %s: %v", tc.pointer, tc.values, got)
		}
	}
}

// FuzzPick looks for values and messages that break the picking, or make no JSON.
func FuzzPick(f *testing.F) {
	f.Add(`{"pointer":"/a~1b/0"}`, `{"a/b":["x"]}`)
	f.Add(`{"template":"{/a}-{/b/c} {"}`, `{"a":1e400,"b":{"c":"\ud800"}}`)
	f.Fuzz(func(t *testing.T, spelled, body string) {
		if !json.Valid([]byte(spelled)) {
			return
		}
		v, err := parseValue(json.RawMessage(spelled))
		if err != nil {
			return
		}
		_, document, err := decode([]byte(body))
		if err != nil {
			return
		}
		if got, err := v.of(document); err == nil && !json.Valid(got) {
			t.Errorf("%s of %s is %s", spelled, body, got)
		}
	})
}
