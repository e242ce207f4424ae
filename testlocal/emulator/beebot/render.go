package beebot

import (
	"strconv"
	"unicode/utf8"
)

// renderer writes the frames of one answer. All that stays the same from frame to frame is
// encoded once: a frame is put together from slices, without a JSON encoder.
//
//	data:{"data":[{"type":"JSON_TEXT","value":"<value, escaped>"}],"messageId":…,"requestId":…,"success":true}
type renderer struct {
	ids       identity
	messageID string // of the answer

	opening []byte // value of the opening frame up to SequenceId
	before  []byte // value of the other frames up to the text
	between []byte // from the text to SequenceId
	after   []byte // from SequenceId to StreamEnd
	source  []byte // the member Source, absent from the opening frame
	tail    []byte // from StreamEnd to requestId
	text    []byte // the whole text, escaped twice
	starts  []int  // where each rune of it begins, and its end

	buffer []byte
}

const (
	frameHead = `data:{"data":[{"type":"JSON_TEXT","value":"`
	frameEnd  = "\",\"success\":true}\n\n"
)

// newRenderer prepares the frames of an answer. The message id and, on the first turn, the
// session id are the first that the identity gives.
func newRenderer(ids identity, messageID, answerID, session string) *renderer {
	r := &renderer{ids: ids, messageID: answerID}
	r.opening = appendEscaped([]byte(frameHead), `{"IsAIGC":false,"MessageId":"`+answerID+`","SequenceId":"`)
	r.after = appendEscaped(nil, `","SessionId":`+quote(session))
	r.tail = append([]byte(`}"}],"messageId":`), quote(messageID)...)
	r.tail = append(r.tail, `,"requestId":"`...)
	return r
}

// generated prepares the snapshots of a model's answer.
func (r *renderer) generated(contentType, text string, words []string) {
	r.answer(streamModel, true, `{"DirectMessageBody":{"ContentType":"`+contentType+`","Ext":{},"SentenceList":[{"Content":"`,
		`"}]},"Type":"Direct","VoiceConfig":{}}`, words)
	r.setText(text)
}

// whole prepares an answer of one frame.
func (r *renderer) whole(source string, body streamBody, words []string) {
	r.answer(source, false, string(marshal(body)), "", words)
	r.setText("")
}

func (r *renderer) answer(source string, generated bool, beforeText, afterText string, words []string) {
	r.before = appendEscaped([]byte(frameHead), `{"IsAIGC":`+strconv.FormatBool(generated)+`,"MessageBody":`+beforeText)
	if words == nil {
		words = []string{}
	}
	r.between = appendEscaped(nil, afterText+`,"MessageId":"`+r.messageID+`","QuerySegList":`+string(marshal(words))+`,"SequenceId":"`)
	r.source = appendEscaped(nil, `,"Source":"`+source+`"`)
}

func (r *renderer) setText(text string) {
	r.text, r.starts = r.text[:0], r.starts[:0]
	for _, char := range text {
		r.starts = append(r.starts, len(r.text))
		if char >= ' ' && char != '"' && char != '\\' && char != '\u2028' && char != '\u2029' {
			r.text = utf8.AppendRune(r.text, char)
			continue
		}
		once := quote(string(char))
		r.text = appendEscaped(r.text, once[1:len(once)-1])
	}
	r.starts = append(r.starts, len(r.text))
}

// runes is the length of the text.
func (r *renderer) runes() int { return len(r.starts) - 1 }

// openingFrame is the first frame, which says nothing yet. Its request id is the answer's id.
func (r *renderer) openingFrame() []byte {
	out := append(r.buffer[:0], r.opening...)
	out = r.ids.appendHex(out)
	out = append(out, r.after...)
	return r.close(out, false, r.messageID)
}

// frame is a snapshot of the first runes of the text. The slice is valid until the next call.
func (r *renderer) frame(runes int, end bool) []byte {
	out := append(r.buffer[:0], r.before...)
	out = append(out, r.text[:r.starts[runes]]...)
	out = append(out, r.between...)
	out = r.ids.appendHex(out)
	out = append(out, r.after...)
	out = append(out, r.source...)
	return r.close(out, end, "")
}

func (r *renderer) close(out []byte, end bool, requestID string) []byte {
	out = append(out, `,\"StreamEnd\":`...)
	out = strconv.AppendBool(out, end)
	out = append(out, r.tail...)
	if requestID == "" {
		out = r.ids.appendUUID(out)
	} else {
		out = append(out, requestID...)
	}
	out = append(out, frameEnd...)
	r.buffer = out
	return out
}

// quote is the JSON of a text.
func quote(text string) string {
	if plain(text) {
		return `"` + text + `"`
	}
	return string(marshal(text))
}

func plain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// appendEscaped appends JSON as it stands inside of a JSON text. JSON itself holds no control
// character, so only quotes and backslashes need a backslash.
func appendEscaped(dst []byte, json string) []byte {
	for i := range len(json) {
		if c := json[i]; c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, json[i])
	}
	return dst
}

// failureFrame is the only frame of a stream that says no.
func failureFrame(no *refusal, messageID, requestID string) []byte {
	out := append([]byte("data:"), failure(no, messageID, requestID)...)
	return append(out, "\n\n"...)
}

func failure(no *refusal, messageID, requestID string) []byte {
	return marshal(struct {
		Code      string `json:"code"`
		Message   string `json:"message"`
		MessageID string `json:"messageId"`
		RequestID string `json:"requestId"`
		Success   bool   `json:"success"`
	}{no.code, no.message, messageID, requestID, false})
}
