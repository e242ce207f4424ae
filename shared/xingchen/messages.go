package xingchen

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
)

// Page is one page of a list.
type Page[T any] struct {
	List []T `json:"list"`
	// Page counts from 1; 0 means the first page too.
	Page            int `json:"page"`
	PageSize        int `json:"pageSize"`
	Total           int `json:"total"`
	PageOffsetValue int `json:"pageOffsetValue"`
}

// HistoryQuery asks for stored messages. PageSize is 1 to 50, default 10.
type HistoryQuery struct {
	Where HistoryWhere `json:"where"`
	// OrderBy knows gmtCreate only: "gmtCreate asc" or "gmtCreate desc", the default.
	OrderBy  []string `json:"orderBy,omitempty"`
	PageNum  int      `json:"pageNum,omitempty"`
	PageSize int      `json:"pageSize,omitempty"`
}

// HistoryWhere names the conversation, by the character and the caller's id of the user,
// and narrows it. Times are inclusive.
type HistoryWhere struct {
	CharacterID string   `json:"characterId"`
	BizUserID   string   `json:"bizUserId"`
	StartTime   Millis   `json:"startTime,omitempty"`
	EndTime     Millis   `json:"endTime,omitempty"`
	SessionID   string   `json:"sessionId,omitempty"`
	MessageIDs  []string `json:"messageIds,omitempty"`
	ChatRoomID  int64    `json:"chatRoomId,omitempty"`
}

// HistoryMessage is one stored message. ChatID joins the question and the answer of an
// exchange.
type HistoryMessage struct {
	MessageID string `json:"messageId"`
	ChatID    string `json:"chatId,omitempty"`
	SessionID string `json:"sessionId,omitempty"`
	Content   string `json:"content"`
	// MessageType is opening_remarks, sys_greetings, user or character.
	MessageType   string        `json:"messageType"`
	MessageIssuer MessageIssuer `json:"messageIssuer"`
	GmtCreate     Millis        `json:"gmtCreate"`
	IsGreeting    bool          `json:"isGreeting,omitempty"`
	// Rating is nil where nobody has rated.
	Rating          *float64 `json:"rating,omitempty"`
	RegenerateTimes int      `json:"regenerateTimes,omitempty"`
}

// MessageIssuer is who said it; UserType is user or character, and for a character UserID is
// the characterId.
type MessageIssuer struct {
	UserID    string `json:"userId,omitempty"`
	BizUserID string `json:"bizUserId,omitempty"`
	UserName  string `json:"userName,omitempty"`
	UserType  string `json:"userType,omitempty"`
}

// RatingRequest rates an answer from -1 to 5. Info holds the details of a bad rating.
type RatingRequest struct {
	MessageID string `json:"messageId"`
	Rating    int    `json:"rating"`
	Info      string `json:"info,omitempty"`
}

// ReminderRequest is a text that the character is made to have said to a user.
type ReminderRequest struct {
	CharacterID string `json:"characterId"`
	BizUserID   string `json:"bizUserId"`
	Content     string `json:"content"`
	ChatRoomID  int64  `json:"chatRoomId,omitempty"`
}

// ResetRequest names the conversation that is to be forgotten.
type ResetRequest struct {
	CharacterID string `json:"characterId"`
	UserID      string `json:"userId"`
}

// StopRequest names the answer that is to end; Content is the text shown so far.
type StopRequest struct {
	SessionID string `json:"sessionId,omitempty"`
	RequestID string `json:"requestId,omitempty"`
	AnswerID  string `json:"answerId,omitempty"`
	Position  int    `json:"position,omitempty"`
	Content   string `json:"content,omitempty"`
}

// Image is the state of a picture that a chat answer asked for.
type Image struct {
	TaskID       string   `json:"taskId,omitempty"`
	Status       string   `json:"status"`
	FileURLs     []string `json:"fileUrls,omitempty"`
	ErrorMessage string   `json:"errorMessage,omitempty"`
}

// Done reports whether the picture is ready.
func (i Image) Done() bool { return strings.EqualFold(i.Status, "success") }

// Failed reports whether it will never be. Every other status but success means to ask
// again; which there are is not documented.
func (i Image) Failed() bool { return strings.EqualFold(i.Status, "failed") }

// UnmarshalJSON takes the addresses from fileUrls or fileUrl, a list or a single text: the
// official SDKs disagree.
func (i *Image) UnmarshalJSON(data []byte) error {
	type plain Image
	var wire struct {
		plain
		FileURLs json.RawMessage `json:"fileUrls"`
		FileURL  json.RawMessage `json:"fileUrl"`
	}
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	*i = Image(wire.plain)
	for _, raw := range []json.RawMessage{wire.FileURLs, wire.FileURL} {
		if len(i.FileURLs) == 0 {
			i.FileURLs = textOrList(raw)
		}
	}
	return nil
}

func textOrList(raw json.RawMessage) []string {
	var list []string
	if json.Unmarshal(raw, &list) == nil {
		return list
	}
	var text string
	if json.Unmarshal(raw, &text) == nil && text != "" {
		return []string{text}
	}
	return nil
}

// Histories reads a page of stored messages. It follows Xingchen HTTP API, history query. It
// changes nothing upstream, so callers may repeat it.
func (c *Client) Histories(ctx context.Context, query HistoryQuery, opts ...CallOption) (Page[HistoryMessage], error) {
	return call[Page[HistoryMessage]](ctx, c, routeHistories, nil, query, opts)
}

// Rate rates an answer; rating again overwrites. It follows Xingchen HTTP API, message
// rating.
func (c *Client) Rate(ctx context.Context, req RatingRequest, opts ...CallOption) error {
	return done(call[*bool](ctx, c, routeRating, nil, req, opts))
}

// Remind writes a fixed text of the character into the history with a user; no model is
// called. It follows Xingchen HTTP API, system recommendation.
func (c *Client) Remind(ctx context.Context, req ReminderRequest, opts ...CallOption) error {
	return done(call[*bool](ctx, c, routeReminder, nil, req, opts))
}

// PollImage asks for the picture that belongs to an answer. It follows Xingchen HTTP API,
// picture polling.
func (c *Client) PollImage(ctx context.Context, messageID, userID string, opts ...CallOption) (Image, error) {
	query := url.Values{"messageId": {messageID}, "userId": {userID}}
	return call[Image](ctx, c, routePollImage, query, nil, opts)
}

// Reset makes the platform forget the conversation of a user with a character. It is known
// from the official SDK only.
func (c *Client) Reset(ctx context.Context, req ResetRequest, opts ...CallOption) error {
	return done(call[*bool](ctx, c, routeReset, nil, req, opts))
}

// Stop ends an answer that is being written. It is known from the official SDK only.
func (c *Client) Stop(ctx context.Context, req StopRequest, opts ...CallOption) error {
	return done(call[*bool](ctx, c, routeStop, nil, req, opts))
}
