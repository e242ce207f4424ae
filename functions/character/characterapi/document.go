package characterapi

import (
	"bytes"
	"encoding/json"
	"fmt"

	"xinghe/shared/httpapi"
)

// parse reads a JSON document into map[string]any, []any, string, json.Number, bool and nil.
func parse(body []byte) (any, error) {
	var raw json.RawMessage
	if err := httpapi.DecodeLenient(body, &raw); err != nil {
		return nil, err
	}
	var document any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber() // numbers are looked at as they are written
	if err := decoder.Decode(&document); err != nil {
		return nil, fmt.Errorf("read a body that was read before: %w", err)
	}
	return document, nil
}
