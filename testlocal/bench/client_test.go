package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// reader judges an answer line by line as it comes.
type reader interface {
	// line takes a line without its end. It must not keep it.
	line(text []byte) error
	// end says how many events there were, or what was wrong, and makes ready for the next.
	end() (events int, err error)
}

// client is one end user on a connection of its own, which it keeps.
type client struct {
	addr    string
	request []byte
	reader  reader

	conn    net.Conn
	in      *bufio.Reader
	lines   *bufio.Reader
	bytes   int64 // of bodies, all together
	answers int
	events  int
	rate    float64 // events a second of the last round
}

// statusError is an answer other than 200.
type statusError struct {
	status int
	body   string
}

func (e *statusError) Error() string { return fmt.Sprintf("status %d: %s", e.status, e.body) }

// patience is for one whole answer.
const patience = time.Minute

// do makes the request once and reads its answer. After an error the next call dials anew,
// but for refusals, whose connection stays.
func (c *client) do() error {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.addr, patience)
		if err != nil {
			return err
		}
		c.conn = conn
		if c.in == nil {
			c.in, c.lines = bufio.NewReader(nil), bufio.NewReaderSize(nil, 8<<10)
		}
		c.in.Reset(conn)
	}
	_ = c.conn.SetDeadline(time.Now().Add(patience))
	err := c.exchange()
	if _, refused := errors.AsType[*statusError](err); err != nil && !refused {
		c.close()
	}
	return err
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

func (c *client) exchange() error {
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		return &statusError{resp.StatusCode, string(body)}
	}
	c.lines.Reset(resp.Body)
	for err == nil {
		var line []byte
		line, err = c.lines.ReadSlice('\n')
		c.bytes += int64(len(line))
		if line = bytes.TrimSuffix(line, []byte{'\n'}); len(line) == 0 || err != nil && !errors.Is(err, io.EOF) {
			continue
		}
		if wrong := c.reader.line(line); wrong != nil {
			return wrong
		}
	}
	if !errors.Is(err, io.EOF) {
		return fmt.Errorf("read answer: %w", err)
	}
	events, err := c.reader.end()
	if err == nil {
		c.answers++
		c.events += events
	}
	return err
}

// chatRequest is a role chat of the user, streamed in increments or in one piece.
func chatRequest(user, text string, stream bool) []byte {
	body := `{"input":{"messages":[{"role":"user","content":"` + text + `"}],"aca":{"botProfile":{"characterId":"c39797a35ad243f1a85baaa6e1ec37e0"},` +
		`"userProfile":{"userId":"` + user + `"},"context":{"useChatHistory":false}}},"parameters":{"incrementalOutput":` + strconv.FormatBool(stream) + `}}`
	header := "x-fag-appcode: aca\r\nx-fag-servicename: aca-chat-send\r\nAccept: */*\r\n"
	if stream {
		header = "x-fag-appcode: aca\r\nx-fag-servicename: aca-chat-send-sse\r\nX-AcA-SSE: enable\r\nAccept: text/event-stream;charset=UTF-8\r\n"
	}
	return post("/v2/api/chat/send", header, body)
}

func robotRequest(user string) []byte {
	return post("/v1/beebot/chatbot-cn-local/chat", "Accept: text/event-stream\r\n",
		`{"utterance":"公积金怎么提取","senderId":"`+user+`","stream":true}`)
}

func post(path, header, body string) []byte {
	return []byte("POST " + path + " HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer " + frontKey + "\r\nContent-Type: application/json\r\n" +
		header + "Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
}

// plainReader reads an answer in one piece.
type plainReader struct{ seen int }

func (r *plainReader) line(text []byte) error {
	if !bytes.HasPrefix(text, []byte(answerHead)) || !bytes.HasSuffix(text, []byte(answerTail)) {
		return fmt.Errorf("not upstream's answer: %s", text)
	}
	r.seen++
	return nil
}

func (r *plainReader) end() (int, error) {
	seen := r.seen
	r.seen = 0
	if seen != 1 {
		return 0, fmt.Errorf("an answer of %d lines", seen)
	}
	return 1, nil
}

var (
	data  = []byte("data:")
	final = []byte(`"stop":true`)
)

// streamReader reads Xingchen's events and, if timed, how old they are as they come.
type streamReader struct {
	want   int
	timed  bool
	ages   []time.Duration
	events int
	whole  bool
}

func (r *streamReader) line(text []byte) error {
	if !bytes.HasPrefix(text, data) || r.whole {
		return fmt.Errorf("after %d events: %s", r.events, text)
	}
	at := bytes.IndexByte(text, '@')
	if at < 0 || at+textSize > len(text) {
		return fmt.Errorf("an event without its text: %s", text)
	}
	r.events++
	r.whole = bytes.HasSuffix(text, []byte(`,"stop":true}`))
	if !r.timed {
		return nil
	}
	stamp, err := strconv.ParseInt(string(text[at+1:at+stampSize-1]), 10, 64)
	r.ages = append(r.ages, time.Duration(time.Now().UnixNano()-stamp))
	return err
}

func (r *streamReader) end() (int, error) {
	events, whole := r.events, r.whole
	r.events, r.whole = 0, false
	if events != r.want || !whole {
		return 0, fmt.Errorf("%d events instead of %d, the last one came: %t", events, r.want, whole)
	}
	return events, nil
}

// robotReader reads deltas, which together are the answer, and the event after them.
type robotReader struct {
	kind   string
	at     int
	events int
	whole  bool
}

func (r *robotReader) line(text []byte) error {
	if kind, ok := bytes.CutPrefix(text, []byte("event:")); ok {
		r.kind = string(bytes.TrimSpace(kind))
		return nil
	}
	r.events++
	_, text, _ = bytes.Cut(text, []byte(`"text":"`))
	text, _, ok := bytes.Cut(text, []byte{'"'})
	rest := robotText[r.at:]
	switch {
	case ok && r.kind == "delta" && strings.HasPrefix(rest, string(text)):
		r.at += len(text)
		return nil
	case ok && r.kind == "done" && rest == "" && string(text) == robotText:
		r.whole = true
		return nil
	}
	return fmt.Errorf("after %d bytes: event %s with %q", r.at, r.kind, text)
}

func (r *robotReader) end() (int, error) {
	events, whole := r.events, r.whole
	*r = robotReader{}
	if !whole {
		return 0, errors.New("an answer without its end")
	}
	return events, nil
}
