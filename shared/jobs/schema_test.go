package jobs_test

import (
	"encoding"
	"encoding/json"
	"maps"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/jobs"
)

// TestSchemasHaveTheFieldsOfTheData compares the schemas with the types that are published,
// field by field, so that what no example shows is described as well.
func TestSchemasHaveTheFieldsOfTheData(t *testing.T) {
	t.Parallel()
	for file, data := range map[string]any{
		"data/chat.json": jobs.ChatEvent{}, "data/character.json": jobs.CharacterEvent{}, "data/export.json": jobs.Export{},
		"data/rating.json": jobs.RatingEvent{}, "data/image.json": jobs.Image{}, "webhook.received.json": jobs.WebhookMessage{},
		"webhook.answered.json": jobs.WebhookAnswer{}, "delivery.paused.json": jobs.DeliveryPaused{}, "envelope.json": jobs.Event{},
	} {
		s := schemaFile{t, file, readSchema(t, file)}
		node := s.root
		if strings.Count(file, ".") == 2 { // of an event, whose data stands in it
			node = node["properties"].(map[string]any)["data"].(map[string]any)
		}
		s.compare(file, reflect.TypeOf(data), node)
	}
}

// schemaFile is a schema as it is written down.
type schemaFile struct {
	t    *testing.T
	name string
	root map[string]any
}

func readSchema(t *testing.T, file string) (root map[string]any) {
	t.Helper()
	text, err := os.ReadFile(path.Join("../../docs/events", file))
	if err == nil {
		err = json.Unmarshal(text, &root)
	}
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// follow finds what a reference stands for, and in which file.
func (s schemaFile) follow(node map[string]any) (schemaFile, map[string]any) {
	ref, ok := node["$ref"].(string)
	if !ok {
		return s, node
	}
	file, pointer, _ := strings.Cut(ref, "#")
	if file != "" {
		s.name = path.Join(path.Dir(s.name), file)
		s.root = readSchema(s.t, s.name)
	}
	node = s.root
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if part != "" {
			node = node[part].(map[string]any)
		}
	}
	return s, node
}

var (
	marshaler = reflect.TypeFor[encoding.TextMarshaler]()
	unasked   = map[string]bool{"data/image.json.unasked": true} // pictures of which nobody is told
)

// compare holds a type to the node that describes it.
func (s schemaFile) compare(where string, kind reflect.Type, node map[string]any) {
	s.t.Helper()
	for kind.Kind() == reflect.Pointer || kind.Kind() == reflect.Slice && kind.Elem().Kind() != reflect.Uint8 {
		if kind.Kind() == reflect.Slice {
			s, node = s.follow(node)
			node, _ = node["items"].(map[string]any)
		}
		kind = kind.Elem()
	}
	if kind.Kind() != reflect.Struct || kind.Implements(marshaler) || node == nil {
		return
	}
	s, node = s.follow(node)
	described, _ := node["properties"].(map[string]any)
	var fields []string
	for field := range structFields(kind) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if unasked[where+"."+name] {
			continue
		}
		fields = append(fields, name)
		if inner, ok := described[name].(map[string]any); ok {
			s.compare(where+"."+name, field.Type, inner)
		}
	}
	slices.Sort(fields)
	if diff := cmp.Diff(fields, slices.Sorted(maps.Keys(described))); diff != "" {
		s.t.Errorf("%s: fields of %s (-) and properties (+):\n%s", where, kind, diff)
	}
}

// structFields are those that JSON has of a struct.
func structFields(kind reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for _, field := range reflect.VisibleFields(kind) {
			if field.IsExported() && !field.Anonymous && field.Tag.Get("json") != "-" && !yield(field) {
				return
			}
		}
	}
}
