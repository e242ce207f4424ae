package budget_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"xinghe/shared/budget"
)

func Example() {
	b, err := budget.New(budget.Config{Name: "xingchen", Rate: 1, Burst: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()

	waited, err := b.Wait(ctx, budget.Chat)
	fmt.Println("chat waited", waited, err)

	b.Penalize(10 * time.Second) // upstream answered 429, Retry-After: 10
	_, err = b.Wait(ctx, budget.Chat)
	if none, ok := errors.AsType[*budget.ExhaustedError](err); ok {
		fmt.Println("chat is refused for more than", none.RetryAfter.Truncate(time.Second))
	}

	ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	_, err = b.Wait(ctx, budget.Bulk)
	fmt.Println("bulk:", err)
	// Output:
	// chat waited 0s <nil>
	// chat is refused for more than 8s
	// bulk: wait for the budget: context deadline exceeded
}
