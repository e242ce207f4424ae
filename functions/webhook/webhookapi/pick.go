package webhookapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-openapi/jsonpointer"

	"xinghe/shared/httpapi"
)

// value is what a field of an action holds: a constant, what stands at a place in the
// message, or a text with such places in it.
type value struct {
	constant json.RawMessage // nil for the other two
	pointer  *place
	template []part
}

// part is a piece of a template: a text, or a place in the message.
type part struct {
	text  string
	place *place
}

// place is where something stands in a message.
type place struct {
	text    string
	pointer jsonpointer.Pointer
}

func parsePlace(text string) (*place, error) {
	pointer, err := jsonpointer.New(text)
	if err != nil || strings.ContainsAny(text, "~") && !escaped(text) {
		return nil, fmt.Errorf("%q is no JSON Pointer such as /data/id", text)
	}
	return &place{text, pointer}, nil
}

// escaped reports whether every ~ begins ~0 or ~1.
func escaped(text string) bool {
	return !strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(text), "~")
}

// of returns what stands there, or an error if there is nothing, or null.
func (p *place) of(document any) (any, error) {
	found, _, err := p.pointer.Get(document)
	if err != nil || found == nil {
		return nil, fmt.Errorf("nothing stands at %s in the body", p.text)
	}
	return found, nil
}

// parseValue reads a field: {"pointer":"/…"}, {"template":"… {/…} …"}, or any other JSON,
// which is a constant.
func parseValue(text json.RawMessage) (value, error) {
	if !picks(text) {
		return value{constant: text}, nil
	}
	var spelled struct {
		Pointer  *string `json:"pointer"`
		Template *string `json:"template"`
	}
	if err := httpapi.DecodeStrict(text, &spelled); err != nil {
		return value{}, plain(err)
	}
	switch {
	case spelled.Pointer != nil && spelled.Template != nil:
		return value{}, errors.New("pointer stands beside template; use one")
	case spelled.Pointer != nil:
		place, err := parsePlace(*spelled.Pointer)
		return value{pointer: place}, err
	case spelled.Template != nil:
		parts, err := parseTemplate(*spelled.Template)
		return value{template: parts}, err
	}
	return value{}, errors.New("pointer or template is null")
}

// picks tells an object that names a place from a constant.
func picks(text json.RawMessage) bool {
	var object map[string]json.RawMessage
	return json.Unmarshal(text, &object) == nil && (object["pointer"] != nil || object["template"] != nil)
}

// parseTemplate finds the places: pointers between braces. A brace that no slash follows is
// a brace.
func parseTemplate(text string) ([]part, error) {
	var parts []part
	for {
		before, after, found := strings.Cut(text, "{/")
		parts = append(parts, part{text: before})
		if !found {
			return parts, nil
		}
		inner, rest, closed := strings.Cut(after, "}")
		if !closed {
			return nil, fmt.Errorf("{/%s: no } follows", inner)
		}
		place, err := parsePlace("/" + inner)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part{place: place})
		text = rest
	}
}

// of is the value's JSON for a message.
func (v value) of(document any) (json.RawMessage, error) {
	switch {
	case v.constant != nil:
		return v.constant, nil
	case v.pointer != nil:
		found, err := v.pointer.of(document)
		if err != nil {
			return nil, err
		}
		return json.Marshal(found)
	}
	var text strings.Builder
	for _, part := range v.template {
		text.WriteString(part.text)
		if part.place == nil {
			continue
		}
		word, err := part.place.word(document)
		if err != nil {
			return nil, err
		}
		text.WriteString(word)
	}
	return json.Marshal(text.String())
}

// word is what stands at a place as a text: texts, numbers as they are written, true, false.
func (p *place) word(document any) (string, error) {
	found, err := p.of(document)
	if err != nil {
		return "", err
	}
	switch found := found.(type) {
	case string:
		return found, nil
	case json.Number:
		return found.String(), nil
	case bool:
		return fmt.Sprint(found), nil
	}
	return "", fmt.Errorf("what stands at %s in the body is no text or number", p.text)
}

// condition is met by messages in which one of some values stands at a place.
type condition struct {
	place  *place
	values []any
}

// parseCondition reads a pointer and the value, or list of values, that may stand there.
func parseCondition(pointer string, text json.RawMessage) (condition, error) {
	place, err := parsePlace(pointer)
	if err != nil {
		return condition{}, err
	}
	var values []any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if len(text) == 0 || text[0] != '[' {
		var one any
		err = decoder.Decode(&one)
		values = []any{one}
	} else {
		err = decoder.Decode(&values)
	}
	if err != nil || len(values) == 0 || slices.ContainsFunc(values, notScalar) {
		return condition{}, errors.New("want a text, a number, true or false, or a list of these")
	}
	return condition{place, values}, nil
}

func notScalar(v any) bool {
	switch v.(type) {
	case string, json.Number, bool:
		return false
	}
	return true
}

// holds reports whether a message meets the condition. Numbers are compared as they are
// written.
func (c condition) holds(document any) bool {
	found, err := c.place.of(document)
	return err == nil && !notScalar(found) && slices.Contains(c.values, found)
}
