package relay

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"xinghe/shared/xingchen"
)

// FuzzQuoted holds that what is cut out of a frame can stand in another document, and is what
// decoding the frame gives.
func FuzzQuoted(f *testing.F) {
	for _, raw := range []string{
		``, `我今年`, `\"\\\n`, `a\ufffd😀`, `\"content\":\"x\"`, `\ud83d`, "\xe4\xbd", "\x01", `\x`, `\`,
		`a"},{"content":"b`, `a"}],"content":"b`, `a","content" :"b`,
	} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		data := []byte(`{"choices":[{"messages":[{"role":"assistant","content":"` + raw + `"}],"stopReason":"null"}],"stop":false}`)
		text, ok := quoted(data)
		if !ok {
			return
		}
		var said string
		if err := json.Unmarshal(text, &said); err != nil || !utf8.Valid(text) {
			t.Fatalf("%q of %q: %v", text, data, err)
		}
		var result xingchen.ChatResult
		if len(text) == len(raw)+len(`""`) && (json.Unmarshal(data, &result) != nil || result.Text() != said) {
			t.Errorf("%q of %q, which says %q", text, data, result.Text())
		}
	})
}
