package sse_test

import (
	"fmt"
	"os"
	"strings"
	"time"

	"xinghe/shared/sse"
)

func ExampleReader_Events() {
	stream := "data:{\"text\":\"我今年\"}\n\n" +
		": a comment\n" +
		"event:error\ndata:{\"errorCode\":404}\n\n"
	for ev, err := range sse.NewReader(strings.NewReader(stream), sse.ReaderConfig{}).Events() {
		if err != nil {
			fmt.Println("cut short:", err)
			return
		}
		fmt.Printf("%q %s\n", ev.Type, ev.Data)
	}
	// Output:
	// "" {"text":"我今年"}
	// "error" {"errorCode":404}
}

// A relay writes each event at once and flushes when it would otherwise wait.
func ExampleReader_Buffered() {
	in := sse.NewReader(strings.NewReader("data:a\n\ndata:b\n\ndata:c\n\n"), sse.ReaderConfig{})
	out := sse.NewWriter(os.Stdout)
	for ev, err := range in.Events() {
		if err != nil {
			return
		}
		if err := out.Data(ev.Data); err != nil {
			return
		}
		if !in.Buffered() {
			fmt.Println("flush")
		}
	}
	// Output:
	// data:a
	//
	// data:b
	//
	// data:c
	//
	// flush
}

func ExampleWriter() {
	w := sse.NewWriter(os.Stdout)
	_ = w.Comment("heartbeat")
	_ = w.Event(sse.Event{Type: "done", ID: "7", Retry: time.Second, Data: []byte("two\nlines")})
	// Output:
	// :heartbeat
	// event:done
	// id:7
	// retry:1000
	// data:two
	// data:lines
}

func ExampleAppendEvent() {
	buf := make([]byte, 0, 1024)
	buf = sse.AppendEvent(buf, sse.Event{Type: "delta", Data: []byte(`{"text":"你好"}`)})
	fmt.Printf("%q\n", buf)
	// Output:
	// "event:delta\ndata:{\"text\":\"你好\"}\n\n"
}
