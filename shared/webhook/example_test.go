package webhook_test

import (
	"fmt"
	"net/http"
	"time"

	"xinghe/shared/sign"
	"xinghe/shared/webhook"
)

func Example() {
	secrets, err := webhook.ParseSecrets(sign.NewSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
	if err != nil {
		fmt.Println(err)
		return
	}
	header, body := http.Header{}, []byte(`{"test": 2432232314}`)
	sent := time.Unix(1614265330, 0)
	if err := secrets.Sign(header, webhook.ID("order.1"), sent, body); err != nil {
		fmt.Println(err)
		return
	}

	id, at, err := secrets.Verify(header, body, sent.Add(time.Minute), webhook.Tolerance)
	fmt.Println(id, at.UTC().Format(time.RFC3339), err)
	_, _, err = secrets.Verify(header, body, sent.Add(time.Hour), webhook.Tolerance)
	fmt.Println(err)
	_, _, err = secrets.Verify(header, []byte(`{"test": 1}`), sent, webhook.Tolerance)
	fmt.Println(err)
	// Output:
	// order~1 2021-02-25T15:02:10Z <nil>
	// timestamp too old
	// wrong signature
}
