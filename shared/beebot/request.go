package beebot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"xinghe/shared/upstream"
)

// Limits of the service, checked before a request is sent. They follow Beebot,
// TongyiBeebotChat and the session API.
const (
	MaxUtterance = 128 // characters, counted as Unicode code points
	MaxSessionID = 64  // characters
)

// StreamRequest asks a robot of the edition 通义. InstanceID and Utterance are required.
type StreamRequest struct {
	InstanceID string
	Utterance  string
	// SessionID is empty on the first turn, then the one received.
	SessionID  string
	SenderID   string
	SenderNick string
	// VendorParam is a JSON document with parameters of one's own; empty for none.
	VendorParam json.RawMessage
	Perspective []string
	// SandBox chooses the test environment.
	SandBox bool
	// Command is TIMEOUT or GUIDEPOST.
	Command string
	// MessageID is new for every question, and the same where that question is repeated;
	// default one of Config.NewID.
	MessageID string
}

// Validate returns a [*upstream.FieldError] for what cannot be sent.
func (r StreamRequest) Validate() error { return r.validate(true) }

func (r StreamRequest) validate(needsUtterance bool) error {
	if needsUtterance && r.Utterance == "" {
		return &upstream.FieldError{Field: "utterance", Message: "missing"}
	}
	return validate(r.InstanceID, r.Utterance, r.SessionID, r.VendorParam)
}

func validate(instanceID, utterance, sessionID string, vendorParam json.RawMessage) error {
	switch {
	case instanceID == "":
		return &upstream.FieldError{Field: "instanceId", Message: "missing"}
	case utf8.RuneCountInString(utterance) > MaxUtterance:
		return &upstream.FieldError{Field: "utterance", Message: "longer than " + strconv.Itoa(MaxUtterance) + " characters"}
	case utf8.RuneCountInString(sessionID) > MaxSessionID:
		return &upstream.FieldError{Field: "sessionId", Message: "longer than " + strconv.Itoa(MaxSessionID) + " characters"}
	case len(vendorParam) > 0 && !json.Valid(vendorParam):
		return &upstream.FieldError{Field: "vendorParam", Message: "not valid JSON"}
	}
	return nil
}

// vendorText is how custom parameters travel: as a text. An empty object is none.
func vendorText(raw json.RawMessage) string {
	text := string(bytes.TrimSpace(raw))
	if text == "{}" || text == "null" {
		return ""
	}
	return text
}

// body builds the JSON to be posted, whose parameters are a JSON document inside a text. It
// follows Beebot, SSE stream interface, section "request".
func (r StreamRequest) body() ([]byte, error) {
	inner, err := encode(struct {
		InstanceID  string   `json:"InstanceId"`
		Utterance   string   `json:"Utterance"`
		SessionID   string   `json:"SessionId,omitempty"`
		SenderID    string   `json:"SenderId,omitempty"`
		SenderNick  string   `json:"SenderNick,omitempty"`
		VendorParam string   `json:"VendorParam,omitempty"`
		Perspective []string `json:"Perspective,omitempty"`
		SandBox     bool     `json:"SandBox,omitempty"`
		Command     string   `json:"Command,omitempty"`
	}{
		r.InstanceID, r.Utterance, r.SessionID, r.SenderID, r.SenderNick,
		vendorText(r.VendorParam), r.Perspective, r.SandBox, r.Command,
	})
	if err != nil {
		return nil, err
	}
	type item struct {
		Type  string `json:"type"`
		Value string `json:"value"`
	}
	return encode(struct {
		MessageID string `json:"messageId"`
		Action    string `json:"action"`
		Version   string `json:"version"`
		Data      []item `json:"data"`
	}{r.MessageID, streamAction, apiVersion, []item{{Type: "JSON_TEXT", Value: string(inner)}}})
}

// encode leaves <, > and & as they are: escaped twice they would swell.
func encode(document any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		return nil, fmt.Errorf("beebot: encode request: %w", err)
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), nil
}
