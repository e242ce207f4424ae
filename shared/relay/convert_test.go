package relay

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func frame(text string) string {
	encoded, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return `{"requestId":"r","choices":[{"messages":[{"role":"assistant","content":` + string(encoded) + `,"x":1}]}],"unknown":[1, 2],"stop":false}`
}

func TestConvert(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		upstream  Output
		wanted    Mode
		said      []string
		converted []string // nil: as they came
	}{
		{"trusted", AsAsked, Incremental, []string{"我", "我今年"}, nil},
		{"the same, cumulative", AlwaysCumulative, Cumulative, []string{"我", "我今年"}, nil},
		{"the same, incremental", AlwaysIncremental, Incremental, []string{"我", "今年"}, nil},
		{"to increments", AlwaysCumulative, Incremental, []string{"我", "我今年", "我今年17岁\"了\"。\n", "我今年17岁\"了\"。\n"}, []string{"我", "今年", "17岁\"了\"。\n", ""}},
		{"to the whole", AlwaysIncremental, Cumulative, []string{"哈", "哈哈", "", "。"}, []string{"哈", "哈哈哈", "哈哈哈", "哈哈哈。"}},
		{"taken back", AlwaysCumulative, Incremental, []string{"你好", "抱歉", "抱歉,"}, []string{"你好", "抱歉", ","}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if tc.converted == nil {
				tc.converted = tc.said
			}
			c := newConverter(tc.upstream, tc.wanted)
			for i, said := range tc.said {
				if diff := cmp.Diff(frame(tc.converted[i]), string(c.convert([]byte(frame(said))))); diff != "" {
					t.Errorf("frame %d:\n%s", i, diff)
				}
			}
		})
	}
}

func TestConvertLeavesTheRestAlone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{``, `{}`, `{"stop":true}`, `{"content":5}`, `{"content":"cut`, `{"content":"bad \u12"}`} {
		if got := string(newConverter(AlwaysCumulative, Incremental).convert([]byte(text))); got != text {
			t.Errorf("%s became %s", text, got)
		}
	}
	// <, > and & stay what they are: some clients compare bytes.
	const html = `{"content":"<b>&</b>","stop":true}`
	if got := string(newConverter(AlwaysCumulative, Incremental).convert([]byte(html))); got != html {
		t.Errorf("got %s", got)
	}
}

func FuzzConvert(f *testing.F) {
	f.Add("我今年", "我今年17岁")
	f.Add("a\\\"", "b\u2028")
	f.Fuzz(func(t *testing.T, a, b string) {
		var first, second struct{ Content string }
		c := newConverter(AlwaysIncremental, Cumulative)
		encode := func(text string) []byte {
			data, err := json.Marshal(map[string]string{"content": text})
			if err != nil {
				t.Fatal(err)
			}
			return data
		}
		for _, step := range []struct {
			in  string
			out *struct{ Content string }
		}{{a, &first}, {b, &second}} {
			if err := json.Unmarshal(c.convert(encode(step.in)), step.out); err != nil {
				t.Fatal(err)
			}
		}
		var clean [2]string
		for i, text := range []string{a, b} {
			var v struct{ Content string }
			if err := json.Unmarshal(encode(text), &v); err != nil {
				t.Fatal(err)
			}
			clean[i] = v.Content
		}
		if first.Content != clean[0] || second.Content != clean[0]+clean[1] {
			t.Errorf("%q, %q gave %q, %q", a, b, first.Content, second.Content)
		}
	})
}
