package relay

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Output says in which way upstream streams texts.
type Output int

// The ways. [AsAsked] trusts upstream to do what the client has asked for, and frames pass
// as they came; the others name what it always does, and frames are converted for clients
// that asked otherwise.
const (
	AsAsked Output = iota
	AlwaysCumulative
	AlwaysIncremental
)

// converter turns the texts of a stream's frames from one mode into the other, and leaves
// the rest of each frame as it came. A text that upstream takes back cannot be told to
// clients that read increments; the frame then holds the whole new text.
type converter struct {
	to   Mode
	text string // said so far
}

// newConverter is nil where there is nothing to convert.
func newConverter(upstream Output, wanted Mode) *converter {
	if upstream == AlwaysCumulative && wanted == Incremental || upstream == AlwaysIncremental && wanted == Cumulative {
		return &converter{to: wanted}
	}
	return nil
}

var contentField = []byte(`"content":"`)

// convert returns the frame with its text in the wanted mode. A frame without a text, or one
// whose text cannot be read, is returned as it is.
func (c *converter) convert(frame []byte) []byte {
	if c == nil {
		return frame
	}
	at := bytes.Index(frame, contentField)
	if at < 0 {
		return frame
	}
	start := at + len(contentField) - 1
	end := endOfString(frame, start)
	var text string
	if end < 0 || json.Unmarshal(frame[start:end], &text) != nil {
		return frame
	}
	encoded, err := encodeText(c.next(text))
	if err != nil {
		return frame
	}
	out := make([]byte, 0, len(frame)-(end-start)+len(encoded))
	out = append(out, frame[:start]...)
	out = append(out, encoded...)
	return append(out, frame[end:]...)
}

// next takes in what upstream says and returns what the client is to read.
func (c *converter) next(text string) string {
	if c.to == Cumulative {
		c.text += text
		return c.text
	}
	before := c.text
	c.text = text
	delta, extends := strings.CutPrefix(text, before)
	if !extends {
		return text
	}
	return delta
}

// endOfString returns the place after the closing quotation mark of the string at start, or
// -1.
func endOfString(data []byte, start int) int {
	for i := start + 1; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// encodeText leaves characters as they are that encoding/json would escape for HTML.
func encodeText(text string) ([]byte, error) {
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(text)
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), err
}
