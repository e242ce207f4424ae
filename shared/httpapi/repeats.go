package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

const (
	// maxListed is how many names of an object are compared one by one.
	maxListed = 16
	// maxNames is how many an object may have, with those around it: to know them takes memory.
	maxNames = 10_000
)

// repeats names the fields of a valid document that stand more than once in their object, in
// whatever case. Readers differ in which of them counts: what is checked here must be what
// upstream acts on.
func repeats(document []byte) []FieldError {
	var found []FieldError
	w := walks.Get().(*walk)
	defer w.leave()
	for i := 0; i < len(document); i++ {
		switch document[i] {
		case '{', '[':
			w.levels = append(w.levels, level{first: len(w.names), list: document[i] == '[', named: document[i] == '['})
		case '}', ']':
			top := len(w.levels) - 1
			w.names, w.levels = w.names[:w.levels[top].first], w.levels[:top]
		case ',':
			top := &w.levels[len(w.levels)-1]
			top.index++
			top.named = top.list
		case '"':
			end := closing(document, i)
			if len(w.levels) > 0 && !w.levels[len(w.levels)-1].named && w.name(document[i:end+1]) && len(found) < maxMisfits {
				found = append(found, FieldError{w.path(), "stands more than once"})
			}
			if len(w.names) > maxNames {
				return append(found, FieldError{w.path(), fmt.Sprintf("is one of more than %d fields", maxNames)})
			}
			i = end
		}
	}
	return found
}

// walk is where in a document one is: names of all objects around, level by level.
type walk struct {
	names  [][]byte
	levels []level
}

// walks are kept, as each request takes one.
var walks = sync.Pool{New: func() any { return new(walk) }}

// leave forgets the document. What a large one took is not kept.
func (w *walk) leave() {
	clear(w.names[:cap(w.names)])
	clear(w.levels[:cap(w.levels)])
	w.names, w.levels = w.names[:0], w.levels[:0]
	if cap(w.names) <= 4*maxListed {
		walks.Put(w)
	}
}

// level is an object or a list.
type level struct {
	first int // of its names
	index int // of the item
	list  bool
	named bool                // what comes is no name
	seen  map[string]struct{} // its names, folded, when they are many
}

// name takes in a name with its quotation marks, and reports whether its object has had it.
func (w *walk) name(quoted []byte) bool {
	name := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(name, '\\') >= 0 {
		var text string
		_ = json.Unmarshal(quoted, &text) // it is valid
		name = []byte(text)
	}
	top := &w.levels[len(w.levels)-1]
	top.named = true
	before := w.names[top.first:]
	w.names = append(w.names, name)
	if len(before) < maxListed {
		for _, other := range before {
			if bytes.EqualFold(other, name) {
				return true
			}
		}
		return false
	}
	if top.seen == nil {
		top.seen = make(map[string]struct{}, 2*maxListed)
		for _, other := range before {
			top.seen[fold(other)] = struct{}{}
		}
	}
	had := len(top.seen)
	top.seen[fold(name)] = struct{}{}
	return len(top.seen) == had
}

// fold makes names equal that differ in case.
func fold(name []byte) string { return strings.ToLower(strings.ToUpper(string(name))) }

// path is that of the name that was taken in last.
func (w *walk) path() string {
	path := ""
	for i, l := range w.levels {
		switch {
		case l.list:
			path += "[" + strconv.Itoa(l.index) + "]"
		case i+1 < len(w.levels):
			path = join(path, string(w.names[w.levels[i+1].first-1]))
		default:
			path = join(path, string(w.names[len(w.names)-1]))
		}
	}
	return path
}

// closing is the place of the quotation mark that ends the string at start.
func closing(document []byte, start int) int {
	for i := start + 1; ; i++ {
		switch document[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
}
