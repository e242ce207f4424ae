package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// thriftFields is a struct of Thrift by the numbers of its fields, of which the values are
// bool, int64, []byte, []any or thriftFields.
type thriftFields map[int64]any

// The types of Thrift's compact protocol.
const (
	thriftTrue = iota + 1
	thriftFalse
	thriftByte
	thriftI16
	thriftI32
	thriftI64
	thriftDouble
	thriftBinary
	thriftList
	thriftSet
	thriftMap
	thriftStruct
)

// thriftReader reads Thrift's compact protocol. What it may hold is bounded by left.
type thriftReader struct {
	from io.ByteReader
	left int // bytes, and elements of lists
}

var errThriftTooLarge = errors.New("thrift: too large")

// readThrift reads a struct of that many bytes at most. It follows Thrift's compact
// protocol encoding.
func readThrift(from io.ByteReader, limit int) (thriftFields, error) {
	return (&thriftReader{from, limit}).fields(0)
}

func (r *thriftReader) ReadByte() (byte, error) {
	if r.left--; r.left < 0 {
		return 0, errThriftTooLarge
	}
	b, err := r.from.ReadByte()
	return b, unexpected(err)
}

func (r *thriftReader) fields(depth int) (thriftFields, error) {
	fields := thriftFields{}
	for last := int64(0); ; {
		head, err := r.ReadByte()
		if err != nil || head == 0 {
			return fields, err
		}
		id := last + int64(head>>4)
		if head>>4 == 0 {
			if id, err = binary.ReadVarint(r); err != nil {
				return nil, err
			}
		}
		last = id
		if fields[id], err = r.value(head&15, depth); err != nil {
			return nil, err
		}
	}
}

func (r *thriftReader) value(kind byte, depth int) (any, error) {
	const deepest = 16
	if depth > deepest {
		return nil, errThriftTooLarge
	}
	switch kind {
	case thriftTrue, thriftFalse:
		return kind == thriftTrue, nil
	case thriftByte:
		b, err := r.ReadByte()
		return int64(int8(b)), err
	case thriftI16, thriftI32, thriftI64:
		return binary.ReadVarint(r)
	case thriftDouble:
		return r.bytes(8)
	case thriftBinary:
		size, err := binary.ReadUvarint(r)
		if err != nil {
			return nil, err
		}
		return r.bytes(size)
	case thriftList, thriftSet:
		return r.list(depth)
	case thriftStruct:
		return r.fields(depth + 1)
	default: // maps do not occur in Parquet
		return nil, fmt.Errorf("thrift: type %d is not known", kind)
	}
}

func (r *thriftReader) bytes(size uint64) ([]byte, error) {
	if size > uint64(max(r.left, 0)) {
		return nil, errThriftTooLarge
	}
	text := make([]byte, size)
	for i := range text {
		b, err := r.ReadByte()
		if err != nil {
			return nil, err
		}
		text[i] = b
	}
	return text, nil
}

func (r *thriftReader) list(depth int) ([]any, error) {
	head, err := r.ReadByte()
	if err != nil {
		return nil, err
	}
	size := uint64(head >> 4)
	if size == 15 {
		if size, err = binary.ReadUvarint(r); err != nil {
			return nil, err
		}
	}
	if size > uint64(max(r.left, 0)) {
		return nil, errThriftTooLarge
	}
	r.left -= int(size)
	list := make([]any, size)
	for i := range list {
		if list[i], err = r.element(head&15, depth); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// element of a list; booleans have a byte of their own there.
func (r *thriftReader) element(kind byte, depth int) (any, error) {
	if kind != thriftTrue && kind != thriftFalse {
		return r.value(kind, depth+1)
	}
	b, err := r.ReadByte()
	return b == thriftTrue, err
}

// The fields below are the zero value if they are missing, or of another type.

func (f thriftFields) number(id int64) int64 {
	n, _ := f[id].(int64)
	return n
}

func (f thriftFields) fields(id int64) thriftFields {
	fields, _ := f[id].(thriftFields)
	return fields
}

func (f thriftFields) list(id int64) []any {
	list, _ := f[id].([]any)
	return list
}
