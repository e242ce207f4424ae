package redact

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// text is one that is looked through: as it was given, and with its full-width and other
// unusual forms of ASCII characters folded into these.
type text struct {
	original string
	folded   string
	// origin is where each byte of folded comes from, and in the end the original's length;
	// nil if both are the same.
	origin []int
}

func fold(original string) *text {
	if !strings.ContainsFunc(original, func(c rune) bool { return folded(c) != c }) {
		return &text{original: original, folded: original}
	}
	t := &text{original: original, origin: make([]int, 0, len(original)+1)}
	var out strings.Builder
	for at, c := range original {
		out.WriteRune(folded(c))
		for range utf8.RuneLen(folded(c)) {
			t.origin = append(t.origin, at)
		}
	}
	t.origin = append(t.origin, len(original))
	t.folded = out.String()
	return t
}

// folded is the ASCII character that one stands for, or itself.
func folded(c rune) rune {
	switch {
	case c < 0x80:
		return c
	case c >= 0xff01 && c <= 0xff5e: // full-width
		return c - 0xff01 + '!'
	case c >= 0x2010 && c <= 0x2015, c == 0x2212, c == 0xfe63, c == 'ー': // dashes
		return '-'
	case c == 0xa0, c >= 0x2000 && c <= 0x200d, c == 0x202f, c == 0x2060, c == 0x3000, c == 0xfeff: // spaces, some without a width
		return ' '
	case c == 'Ⅹ', c == '×': // at the end of identity cards
		return 'X'
	case c == '·', c == '•', c == '∙': // dots between
		return '.'
	}
	return c
}

// span is a range of folded as one of the original. A nil text is the original itself.
func (t *text) span(start, end int) span {
	if t == nil || t.origin == nil {
		return span{start: start, end: end}
	}
	// A character that begins within the range ends where the next one begins.
	return span{start: t.origin[start], end: t.origin[end]}
}

// email is an address as people write it; its dots may be those of Chinese sentences.
var email = regexp.MustCompile(`[0-9A-Za-z._%+-]*[0-9A-Za-z_%+-]@(?:[0-9A-Za-z](?:[0-9A-Za-z-]*[0-9A-Za-z])?[.。\x{FF61}])+[A-Za-z]{2,}`)

func emails(t *text) ([]span, error) {
	if !strings.Contains(t.folded, "@") {
		return nil, nil
	}
	return spansOf(email, t.folded, t), nil
}
