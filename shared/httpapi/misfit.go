package httpapi

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxMisfits is how many faults of a body are named.
const maxMisfits = 50

// misfit says which fields of a valid document do not fit the type of into, which
// encoding/json has found not to take it, and tells of one only, without indexes. The path is
// that of the document.
func misfit(document []byte, into any, path string, strict bool, found error) error {
	m := misfits{strict: strict}
	m.look(document, reflect.TypeOf(into).Elem(), path)
	if len(m.fields) == 0 {
		m.add(path, strings.TrimPrefix(found.Error(), "json: "))
	}
	return Invalid(m.fields...)
}

type misfits struct {
	strict bool
	fields []FieldError
}

// add names the whole document "body".
func (m *misfits) add(path, message string) {
	if path == "" {
		path = "body"
	}
	m.fields = append(m.fields, FieldError{path, message})
}

// look compares a document with a type, as encoding/json would read it.
func (m *misfits) look(raw json.RawMessage, t reflect.Type, path string) {
	if len(m.fields) == maxMisfits {
		return
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	target := reflect.New(t)
	err := json.Unmarshal(raw, target.Interface())
	_, own := reflect.TypeAssert[json.Unmarshaler](target)
	_, text := reflect.TypeAssert[encoding.TextUnmarshaler](target)
	switch {
	case (own || text) && err == nil:
	case (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) && raw[0] == '[':
		var items []json.RawMessage
		_ = json.Unmarshal(raw, &items) // it is valid
		for i, item := range items {
			m.look(item, t.Elem(), path+"["+strconv.Itoa(i)+"]")
		}
	case own || text:
		m.add(misread(err, t, path))
	case t.Kind() == reflect.Struct && raw[0] == '{':
		m.lookAtFields(raw, t, path)
	case t.Kind() == reflect.Map && raw[0] == '{':
		for name, value := range members(raw) {
			m.look(value, t.Elem(), join(path, name))
		}
	case err != nil:
		m.add(path, wanted(raw, t))
	}
}

func (m *misfits) lookAtFields(raw json.RawMessage, t reflect.Type, path string) {
	known := fieldsOf(t)
	for name, value := range members(raw) {
		at := slices.IndexFunc(known, func(f field) bool { return strings.EqualFold(f.name, name) })
		switch {
		case at >= 0:
			m.look(value, known[at].kind, join(path, known[at].name))
		case m.strict && len(m.fields) < maxMisfits:
			m.add(join(path, name), "is not a known field")
		}
	}
}

// members ranges over an object by name.
func members(raw json.RawMessage) func(yield func(string, json.RawMessage) bool) {
	var all map[string]json.RawMessage
	_ = json.Unmarshal(raw, &all) // it is a valid object
	return func(yield func(string, json.RawMessage) bool) {
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if !yield(name, all[name]) {
				return
			}
		}
	}
}

// field is one of a struct as encoding/json sees it.
type field struct {
	name string
	kind reflect.Type
}

func fieldsOf(t reflect.Type) []field {
	var fields []field
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" || f.Anonymous && name == "" {
			continue // what an embedded struct has is visible itself
		}
		if name == "" {
			name = f.Name
		}
		fields = append(fields, field{name, f.Type})
	}
	return fields
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// misread tells what a type that reads itself has to say, and of which field below it.
func misread(err error, t reflect.Type, path string) (string, string) {
	if t == reflect.TypeFor[time.Time]() {
		return path, "want a time such as 2024-05-01T00:00:00Z"
	}
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if kind.Field != "" {
			path = join(path, kind.Field)
		}
		return path, wanted(nil, kind.Type)
	}
	return path, strings.TrimPrefix(err.Error(), "json: ")
}

// wanted names what a type takes, in the words of JSON.
func wanted(raw json.RawMessage, t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "want a text"
	case reflect.Bool:
		return "want true or false"
	case reflect.Slice, reflect.Array:
		return "want a list"
	case reflect.Struct, reflect.Map:
		return "want an object"
	case reflect.Float32, reflect.Float64:
		return "want a number"
	}
	if len(raw) > 0 && len(raw) < 32 && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9') {
		return fmt.Sprintf("want a whole number, not %s", raw)
	}
	return "want a whole number"
}
