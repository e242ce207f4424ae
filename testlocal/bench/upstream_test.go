package bench

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// shape is how the mock upstream streams.
type shape struct {
	Events   int
	Pause    time.Duration // between two events
	OneWrite bool          // the whole answer in one write
}

// upstream speaks as much of both services as the benchmarks ask for. It writes its answers
// by hand, to leave the processor to those that are measured.
type upstream struct {
	shape     shape
	plain     []byte
	snapshots [][]byte
}

// textSize is the new text of an event, in bytes: a stamp and filling.
const (
	textSize  = 64
	stampSize = 21 // "@", nanoseconds of Unix time in 19 digits, "@"
)

// What follows is in the form of Xingchen HTTP API, role chat: an answer in one piece, and
// frames of an incremental stream.
const (
	frameHead = `{"requestId":"5d0ce1f2-1f8a-4c7e-9b11-7f1d43d8c0aa","choices":[{"messages":[{"role":"assistant","content":"`
	frameMore = `","finishReason":"null"}],"stopReason":"null"}],` + frameContext + `,"stop":false}`
	frameLast = `","finishReason":"stop"}],"stopReason":"stop"}],"usage":{"outputTokens":100,"inputTokens":1336,"userTokens":7},` +
		frameContext + `,"stop":true}`
	frameContext = `"context":{"chatRoomId":80473,"sessionId":"684619bb52864ea0b279828f48c2c8c9","chatId":"ee219371e7424778bd5e6b5fb0550a7b",` +
		`"messageId":"6cf73db21a9f4963a212df8b7fc5de8e","enableDataInspection":true,"isSave":true,` +
		`"requestId":"5d0ce1f2-1f8a-4c7e-9b11-7f1d43d8c0aa","modelRequestId":"0eee5cdd-d758-9a6f-b7ea-58bd8ceae8e0"}`
	answerHead = `{"requestId":"5d0ce1f2-1f8a-4c7e-9b11-7f1d43d8c0aa","code":200,"data":`
	answerTail = `,"success":true}`
	tokenBody  = `{"RequestId":"736994BD-AA35-4742-88C9-E64BE4BAA14B","AccessToken":"bench-token","ChannelId":"bench-channel","StreamSecret":"bench"}`
)

// filling is text of n bytes that JSON leaves as it is.
func filling(n int) string {
	return strings.Repeat("all that is said goes on its way as it came; ", n/45+1)[:n]
}

func newUpstream(s shape) *upstream {
	answer := answerHead + frameHead + filling(250) + frameLast + answerTail
	return &upstream{shape: s, plain: whole(answer), snapshots: robotFrames()}
}

func whole(body string) []byte {
	return []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json;charset=UTF-8\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
}

func (u *upstream) serve(listener net.Listener, err error) error {
	for err == nil {
		var conn net.Conn
		if conn, err = listener.Accept(); err == nil {
			go u.talk(conn)
		}
	}
	return err
}

// talk answers what comes over a connection until that is closed.
func (u *upstream) talk(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(in)
		if err == nil {
			_, err = io.Copy(io.Discard, req.Body)
		}
		if err == nil {
			err = u.answer(conn, req)
		}
		if err != nil {
			return // whoever called has gone
		}
	}
}

func (u *upstream) answer(conn net.Conn, req *http.Request) error {
	var err error
	switch {
	case strings.HasPrefix(req.URL.Path, "/sse/paas4Json/"):
		err = u.stream(conn, len(u.snapshots), func(dst []byte, i int) []byte { return append(dst, u.snapshots[i]...) })
	case req.URL.Path == "/":
		_, err = conn.Write(whole(tokenBody))
	case strings.HasSuffix(req.Header.Get("x-fag-servicename"), "-sse"):
		text := []byte(filling(textSize))
		err = u.stream(conn, u.shape.Events, func(dst []byte, i int) []byte { return appendFrame(dst, text, i == u.shape.Events-1) })
	default:
		_, err = conn.Write(u.plain)
	}
	return err
}

// appendFrame appends an event with the time in its text.
func appendFrame(dst, text []byte, last bool) []byte {
	text[0], text[stampSize-1] = '@', '@'
	strconv.AppendInt(text[1:1], time.Now().UnixNano(), 10)
	dst = append(append(append(dst, "data:"...), frameHead...), text...)
	if last {
		return append(dst, frameLast+"\n\n"...)
	}
	return append(dst, frameMore+"\n\n"...)
}

// stream writes n frames, a chunk to each write.
func (u *upstream) stream(conn net.Conn, n int, frame func(dst []byte, i int) []byte) error {
	out := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream;charset=UTF-8\r\nTransfer-Encoding: chunked\r\n\r\n")
	var chunk []byte
	var tick <-chan time.Time
	if u.shape.Pause > 0 {
		ticker := time.NewTicker(u.shape.Pause)
		defer ticker.Stop()
		tick = ticker.C
	}
	for i := range n {
		chunk = frame(chunk, i)
		last := i == n-1
		if u.shape.OneWrite && !last {
			continue
		}
		out = append(strconv.AppendInt(out, int64(len(chunk)), 16), "\r\n"...)
		out = append(append(out, chunk...), "\r\n"...)
		if last {
			out = append(out, "0\r\n\r\n"...)
		}
		if _, err := conn.Write(out); err != nil {
			return err
		}
		out, chunk = out[:0], chunk[:0]
		if tick != nil && !last {
			<-tick
		}
	}
	return nil
}

// The answer of the robot.
const (
	robotSnapshots = 200
	robotStep      = 10 // characters that each adds
)

var robotText = strings.Repeat("公积金可以线上提取", robotSnapshots*robotStep/9+1)[:3*robotSnapshots*robotStep]

// robotFrame and robotValue are what a reader of Beebot's stream needs of a frame, and of the
// JSON inside it. They follow Beebot, SSE stream interface.
type robotFrame struct {
	Data      []robotItem `json:"data"`
	MessageID string      `json:"messageId"`
	RequestID string      `json:"requestId"`
	Success   bool        `json:"success"`
}

type robotItem struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

type robotValue struct {
	IsAIGC       bool
	MessageBody  robotBody
	MessageID    string `json:"MessageId"`
	QuerySegList []string
	SequenceID   string `json:"SequenceId"`
	SessionID    string `json:"SessionId"`
	Source       string
	StreamEnd    bool
}

type robotBody struct {
	DirectMessageBody robotDirect
	Type              string
}

type robotDirect struct {
	ContentType  string
	SentenceList []robotSentence
}

type robotSentence struct{ Content string }

// robotFrames are all snapshots of the answer.
func robotFrames() [][]byte {
	var frames [][]byte
	for i := 1; i <= robotSnapshots; i++ {
		inner := encode(robotValue{
			IsAIGC: true, MessageID: "aad1d419-45cb-4f8d-9f24-a0c12ca62749", QuerySegList: []string{"公积金", "怎么", "提取"},
			SequenceID: "0e99be8a5ec444359a54405870cc96cf", SessionID: "dfa8ed43a2584d6c867a1c9b5baee490",
			Source: "NON_STRUCTURAL_KNOWLEDGE", StreamEnd: i == robotSnapshots,
			MessageBody: robotBody{Type: "Direct", DirectMessageBody: robotDirect{
				ContentType: "RICH_TEXT", SentenceList: []robotSentence{{robotText[:3*robotStep*i]}},
			}},
		})
		frame := encode(robotFrame{
			Data: []robotItem{{"JSON_TEXT", inner}}, MessageID: "6bd684db-7259-4060-88fc-de562d2c86e7",
			RequestID: "5fb4a490-e0d7-4832-b460-287724d557da", Success: true,
		})
		frames = append(frames, []byte("data:"+frame+"\n\n"))
	}
	return frames
}

func encode(document any) string {
	text, err := json.Marshal(document)
	if err != nil {
		panic(err) // the types above cannot fail
	}
	return string(text)
}
