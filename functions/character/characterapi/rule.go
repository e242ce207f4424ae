package characterapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"xinghe/shared/httpapi"
)

// maxFaults is how many faults of a body are told.
const maxFaults = 50

// checker collects the faults of a request.
type checker struct {
	faults  []httpapi.FieldError
	address func(string) string // what is wrong with an address; empty for nothing
}

func (c *checker) fault(path, format string, args ...any) {
	switch len(c.faults) {
	case maxFaults:
		c.faults = append(c.faults, httpapi.FieldError{Field: "body", Message: "has more faults than are told here"})
	case maxFaults + 1:
	default:
		c.faults = append(c.faults, httpapi.FieldError{Field: path, Message: fmt.Sprintf(format, args...)})
	}
}

// misfit tells that a value is of another kind than it should be.
func (c *checker) misfit(path, want string, value any) {
	kind := "null"
	switch value.(type) {
	case string:
		kind = "a JSON string"
	case json.Number:
		kind = "a JSON number"
	case bool:
		kind = "a JSON boolean"
	case []any:
		kind = "a JSON list"
	case map[string]any:
		kind = "a JSON object"
	}
	c.fault(path, "is %s; want %s", kind, want)
}

// rule checks the value at a path.
type rule func(c *checker, path string, value any)

// field is a field of an object that is looked at. What no field names passes unseen.
type field struct {
	name     string
	rule     rule
	required bool
}

func required(name string, rule rule) field { return field{name, rule, true} }
func optional(name string, rule rule) field { return field{name, rule, false} }

// record is an object. An optional field that is null counts as left out.
func record(fields ...field) rule {
	return func(c *checker, path string, value any) {
		o, ok := value.(map[string]any)
		if !ok {
			c.misfit(path, "an object", value)
			return
		}
		for _, f := range fields {
			at := strings.TrimPrefix(path+"."+f.name, bodyPath+".")
			value := o[f.name]
			switch {
			case value != nil:
				f.rule(c, at, value)
			case f.required:
				c.fault(at, "missing")
			}
		}
	}
}

// bodyPath is the path of the body itself; those of its fields go without it.
const bodyPath = "body"

func list(item rule) rule {
	return func(c *checker, path string, value any) {
		items, ok := value.([]any)
		if !ok {
			c.misfit(path, "a list", value)
			return
		}
		for i, value := range items {
			item(c, path+"["+strconv.Itoa(i)+"]", value)
		}
	}
}

// text is a string.
func text(c *checker, path string, value any) {
	if _, ok := value.(string); !ok {
		c.misfit(path, "a text", value)
	}
}

// filled is a text of 1 to most characters; 0 is no limit.
func filled(most int) rule {
	return func(c *checker, path string, value any) {
		s, ok := value.(string)
		switch length := utf8.RuneCountInString(s); {
		case !ok:
			c.misfit(path, "a text", value)
		case s == "":
			c.fault(path, "is empty")
		case most > 0 && length > most:
			c.fault(path, "has %d characters; at most %d", length, most)
		}
	}
}

// word is one of a few texts.
func word(words ...string) rule {
	return func(c *checker, path string, value any) {
		s, ok := value.(string)
		if !ok {
			c.misfit(path, "a text", value)
			return
		}
		if !slices.Contains(words, s) {
			c.fault(path, "is none of: %s", strings.Join(words, ", "))
		}
	}
}

func flag(c *checker, path string, value any) {
	if _, ok := value.(bool); !ok {
		c.misfit(path, "true or false", value)
	}
}

func number(c *checker, path string, value any) {
	if _, ok := value.(json.Number); !ok {
		c.misfit(path, "a number", value)
	}
}

func whole(c *checker, path string, value any) {
	n, ok := value.(json.Number)
	if !ok {
		c.misfit(path, "a whole number", value)
		return
	}
	if _, err := n.Int64(); err != nil {
		c.fault(path, "is no whole number")
	}
}

// between is a whole number within bounds.
func between(least, most int64) rule {
	return func(c *checker, path string, value any) {
		whole(c, path, value)
		n, _ := value.(json.Number)
		if i, err := n.Int64(); err == nil && (i < least || i > most) {
			c.fault(path, "is not between %d and %d", least, most)
		}
	}
}

// address is the address of a file on the public internet, or empty.
func address(c *checker, path string, value any) {
	s, ok := value.(string)
	if !ok {
		c.misfit(path, "a text", value)
		return
	}
	if s == "" {
		return
	}
	if fault := c.address(s); fault != "" {
		c.fault(path, "%s", fault)
	}
}
