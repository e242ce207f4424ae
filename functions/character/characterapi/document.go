package characterapi

import (
	"bytes"
	"encoding/json"
	"fmt"

	"xinghe/shared/httpapi"
)

// object is a JSON object as it is written: readers that disagree on which of two equal
// names counts would see two different bodies.
type object struct {
	fields map[string]any
	twice  map[string]bool
}

// parse reads a JSON document into *object, []any, string, json.Number, bool and nil.
func parse(body []byte) (any, error) {
	var document any // bounds the depth, and says what is wrong
	if err := httpapi.DecodeLenient(body, &document); err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	value, err := next(decoder)
	if err != nil {
		return nil, fmt.Errorf("read a body that was read before: %w", err)
	}
	return value, nil
}

func next(decoder *json.Decoder) (any, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		return nextObject(decoder)
	case json.Delim('['):
		list := []any{}
		for decoder.More() {
			item, err := next(decoder)
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		_, err = decoder.Token()
		return list, err
	}
	return token, nil
}

func nextObject(decoder *json.Decoder) (any, error) {
	o := &object{fields: map[string]any{}, twice: map[string]bool{}}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		name, _ := token.(string)
		value, err := next(decoder)
		if err != nil {
			return nil, err
		}
		_, o.twice[name] = o.fields[name]
		o.fields[name] = value
	}
	_, err := decoder.Token()
	return o, err
}
