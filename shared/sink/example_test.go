package sink_test

import (
	"context"
	"fmt"
	"io"
	"os"

	"xinghe/shared/sink"
)

func Example() {
	root, err := os.MkdirTemp("", "sink")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(root) }()
	ctx := context.Background()
	to, err := sink.NewFolder(root)
	if err != nil {
		panic(err)
	}
	w, err := to.Create(ctx, "nightly/part-0.jsonl")
	if err != nil {
		panic(err)
	}
	defer w.Abort()
	_, _ = io.WriteString(w, "{}\n")
	if err := w.Commit(); err != nil {
		panic(err)
	}
	for info, err := range to.List(ctx, "nightly") {
		fmt.Println(info.Path, info.Size, err)
	}
	// Output: nightly/part-0.jsonl 3 <nil>
}
