package turn_test

import (
	"context"
	"errors"
	"fmt"

	"xinghe/shared/turn"
)

func Example() {
	turns := turn.New(turn.Config{Waiting: -1}) // nobody may wait

	leave, err := turns.Take(context.Background(), "1234567")
	fmt.Println("first call:", err)

	_, err = turns.Take(context.Background(), "1234567")
	if full, ok := errors.AsType[*turn.FullError](err); ok {
		fmt.Println("second call: 409, Retry-After", full.RetryAfter)
	}

	leave()
	_, err = turns.Take(context.Background(), "1234567")
	fmt.Println("third call:", err)
	// Output:
	// first call: <nil>
	// second call: 409, Retry-After 1s
	// third call: <nil>
}
