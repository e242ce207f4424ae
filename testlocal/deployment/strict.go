package deployment

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decode reads one document and refuses keys that are not known.
func decode(text []byte, into any) error {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return err
	}
	if len(document.Content) == 0 {
		return nil
	}
	return strict(document.Content[0], into)
}

// strict decodes a node and refuses keys that are not known, which yaml.Node itself does
// not.
func strict(node *yaml.Node, into any) error {
	if err := known(node, reflect.TypeOf(into).Elem()); err != nil {
		return err
	}
	return node.Decode(into)
}

var (
	nodeType    = reflect.TypeFor[yaml.Node]()
	unmarshaler = reflect.TypeFor[yaml.Unmarshaler]()
)

// known looks for keys that a type has not. Types that decode themselves look for
// themselves.
func known(node *yaml.Node, t reflect.Type) error {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nodeType || reflect.PointerTo(t).Implements(unmarshaler) {
		return nil
	}
	for i := range node.Content {
		child, inside := node.Content[i], reflect.Type(nil)
		switch {
		case node.Kind == yaml.SequenceNode && t.Kind() == reflect.Slice,
			node.Kind == yaml.MappingNode && i%2 == 1 && t.Kind() == reflect.Map:
			inside = t.Elem()
		case node.Kind == yaml.MappingNode && i%2 == 1 && t.Kind() == reflect.Struct:
			key := node.Content[i-1]
			if inside = field(t, key.Value); inside == nil {
				return fmt.Errorf("line %d: field %s not found in %s", key.Line, key.Value, t.Name())
			}
		default:
			continue // what does not fit is told by decoding
		}
		if err := known(child, inside); err != nil {
			return err
		}
	}
	return nil
}

// field is the type of the field that a key stands for, or nil.
func field(t reflect.Type, key string) reflect.Type {
	for f := range t.Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); name == key {
			return f.Type
		}
	}
	return nil
}
