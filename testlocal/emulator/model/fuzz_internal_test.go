package model

import (
	"bytes"
	"testing"
)

func FuzzRead(f *testing.F) {
	f.Add([]byte("data: {\"choices\":[{\"delta\":{\"content\":\"你\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"))
	f.Add([]byte("data: {\"error\":{\"message\":\"no\"}}\n\n"))
	f.Add([]byte(`{"choices":[{"message":{"content":"a"}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		text := ""
		err := new(Client).read(bytes.NewReader(data), func(piece string) bool {
			text += piece
			return true
		})
		if err == nil && len(data) == 0 {
			t.Error("nothing is an answer")
		}
		_, _ = whole(bytes.NewReader(data))
	})
}
