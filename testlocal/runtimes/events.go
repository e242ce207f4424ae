package runtimes

import (
	"crypto/md5" //nolint:gosec // SQS names its messages' digests so
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// Timer is what a timer trigger of Function Compute sends.
func Timer(trigger string, at time.Time, payload string) []byte {
	return encode(map[string]string{
		"triggerTime": at.UTC().Format(time.RFC3339), "triggerName": trigger, "payload": payload,
	})
}

// EventBridge is what a rule of EventBridge sends. A schedule of EventBridge Scheduler sends
// exactly its configured input, and needs no such envelope.
func EventBridge(id, source, detailType string, at time.Time, detail json.RawMessage) []byte {
	return encode(map[string]any{
		"version": "0", "id": id, "detail-type": detailType, "source": source, "account": awsAccount,
		"time": at.UTC().Format(time.RFC3339), "region": awsRegion, "resources": []string{}, "detail": detail,
	})
}

// sqsRecord is a message of a batch.
type sqsRecord struct {
	MessageID         string            `json:"messageId"`
	ReceiptHandle     string            `json:"receiptHandle"`
	Body              string            `json:"body"`
	Attributes        map[string]string `json:"attributes"`
	MessageAttributes map[string]any    `json:"messageAttributes"`
	MD5OfBody         string            `json:"md5OfBody"`
	EventSource       string            `json:"eventSource"`
	EventSourceARN    string            `json:"eventSourceARN"`
	AWSRegion         string            `json:"awsRegion"`
}

// SQS is what a queue sends: a batch of messages, received so many times.
func SQS(queue string, received int, bodies ...string) []byte {
	records := make([]sqsRecord, 0, len(bodies))
	now := strconv.FormatInt(time.Now().UnixMilli(), 10)
	for _, body := range bodies {
		sum := md5.Sum([]byte(body)) //nolint:gosec // as above
		records = append(records, sqsRecord{
			MessageID: uuid.NewString(), ReceiptHandle: uuid.NewString(), Body: body, MessageAttributes: map[string]any{},
			Attributes: map[string]string{
				"ApproximateReceiveCount": strconv.Itoa(received), "SentTimestamp": now, "ApproximateFirstReceiveTimestamp": now, "SenderId": awsAccount,
			},
			MD5OfBody: hex.EncodeToString(sum[:]), EventSource: "aws:sqs", AWSRegion: awsRegion,
			EventSourceARN: "arn:aws:sqs:" + awsRegion + ":" + awsAccount + ":" + queue,
		})
	}
	return encode(map[string]any{"Records": records})
}

// encode is of values that have a JSON form, unless a raw part of them is none: then that
// part is what the function gets to see.
func encode(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		return []byte("null")
	}
	return text
}
