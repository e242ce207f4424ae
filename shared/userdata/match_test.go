package userdata

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNames(t *testing.T) {
	t.Parallel()
	const bot = "character:c1"
	for _, tc := range []struct {
		name, bot, document string
		anywhere, want      bool
		ids                 []string
	}{
		{name: "an event's data", document: `{"data":{"bot":"character:c1","userId":"u","messageId":"m"}}`, want: true, ids: []string{"m"}},
		{name: "upstream's fields", document: `{"where":{"bizUserId":"u"}}`, want: true},
		{name: "another's", document: `{"userId":"u2","text":"u"}`},
		{name: "a list of users", document: `{"spec":{"users":["a","u"]}}`, want: true},
		{name: "another list", document: `{"words":["u"]}`},
		{name: "a word that is the id, of a sender who may write what he likes", document: `{"body":{"who":["u"]}}`, anywhere: true, want: true},
		{name: "no number is an id", document: `{"userId":7}`},
		{name: "no JSON", document: `userId u`},
		{name: "the bot", bot: bot, document: `{"bot":"character:c1","data":{"userId":"u"}}`, want: true},
		{name: "the character", bot: bot, document: `{"characterId":"c1","userId":"u"}`, want: true},
		{name: "another bot", bot: bot, document: `{"bot":"beebot:c1","userId":"u","messageId":"m"}`},
		{name: "an unknown bot", bot: bot, document: `{"userId":"u","messageId":"m"}`},
		{name: "an unknown bot, of a message that is known", bot: bot, document: `{"userId":"u","messageId":"known"}`, want: true, ids: []string{"known"}},
		{name: "a list of users of several bots", bot: bot, document: `{"users":["u"]}`},
	} {
		m := newMatcher(User{ID: "u", Bot: tc.bot})
		if tc.bot != "" {
			m.ids["known"] = true
		}
		if got := m.names([]byte(tc.document), tc.anywhere); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
		for _, id := range tc.ids {
			if !m.ids[id] {
				t.Errorf("%s: message %s is not known", tc.name, id)
			}
		}
	}
}

func TestScrub(t *testing.T) {
	t.Parallel()
	m := newMatcher(User{ID: "done"})
	const document = `{"name":"done","state":"done","spec":{"users":["a","done"]},"userId":"done","n":12345678901234567890,` +
		`"error":"2 are missing: of user done: 404 (undone, done-1)","list":[{"reason":"done."}]}`
	got, changed, err := m.scrubJSON([]byte(document))
	want := `{"error":"2 are missing: of user [erased]: 404 (undone, done-1)","list":[{"reason":"[erased]."}],"n":12345678901234567890,` +
		`"name":"done","spec":{"users":["a","[erased]"]},"state":"done","userId":"[erased]"}`
	if diff := cmp.Diff(want, string(got)); diff != "" || !changed || err != nil {
		t.Errorf("%s %v %v", diff, changed, err)
	}
	if _, changed, err := m.scrubJSON(got); changed || err != nil {
		t.Errorf("again: %v %v", changed, err)
	}
}

func FuzzScrubText(f *testing.F) {
	f.Add("of user u1: 404", "u1")
	f.Add("u1u1 u1", "u1")
	f.Add("用户小明。", "小明")
	f.Add("aa a", "a")
	f.Add("\xff\xfe", "\xfe")
	f.Fuzz(func(t *testing.T, text, id string) {
		if id == "" || strings.ContainsAny(id, "()") || strings.Contains(Erased, id) {
			return // what cannot be an id, or is in the mark itself
		}
		m := newMatcher(User{ID: id})
		clean := m.scrubText(text)
		if clean != text && !strings.Contains(clean, Erased) {
			t.Errorf("%q of %q", clean, text)
		}
		// What is taken out alone is taken out of a sentence.
		if got := m.scrubText("(" + id + ")"); got != "("+Erased+")" {
			t.Errorf("%q of %q", got, id)
		}
	})
}
