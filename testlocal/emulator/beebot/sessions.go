package beebot

import (
	"strconv"
	"strings"
	"time"
)

// The calls around a conversation. They follow the vendor's SDK of version 2022-04-08, which
// names their fields; what the fields hold is an assumption.

type beginAnswer struct {
	RequestID           string `json:"RequestId"`
	WelcomeMessage      string `json:"WelcomeMessage"`
	SilenceReplyTimeout int    `json:"SilenceReplyTimeout"` // milliseconds
	Interruptible       bool   `json:"Interruptible"`
	AsrMaxEndSilence    int    `json:"AsrMaxEndSilence"` // milliseconds
}

// beginSession says what a visitor is greeted with. A session that has begun before begins
// afresh.
func (s *Server) beginSession(c *call) (any, *refusal) {
	space, no := s.space(c.param("AgentKey"))
	if no != nil {
		return nil, no
	}
	bot, no := s.robotOf(c.param("InstanceId"), "InstanceId", space)
	if no != nil {
		return nil, no
	}
	session := c.param("SessionId")
	if len([]rune(session)) > maxSessionID {
		return nil, invalid("SessionId", "It is longer than 64 characters.")
	}
	if !isJSONObject(c.param("VendorParam")) {
		return nil, invalid("VendorParam", "It is not a JSON object.")
	}
	if session != "" {
		s.sessions.remove(sessionKey(bot, session))
	}
	return beginAnswer{
		RequestID: c.record.RequestID, WelcomeMessage: bot.pick(bot.Welcome, session), SilenceReplyTimeout: 10_000,
		Interruptible: true, AsrMaxEndSilence: 800,
	}, nil
}

// robotOf is a robot of whatever edition.
func (s *Server) robotOf(instance, parameter, space string) (*robot, *refusal) {
	if instance == "" {
		return nil, missing(parameter)
	}
	q := question{instance: instance}
	if bot, known := s.bots[instance]; known {
		q.stream = bot.Edition != EditionClassic
	}
	return s.admitBot(q, space)
}

type feedbackAnswer struct {
	RequestID string `json:"RequestId"`
	MessageID string `json:"MessageId"`
	Feedback  string `json:"Feedback"`
}

// feedback notes what a visitor thinks of an answer. The last one counts.
func (s *Server) feedback(c *call) (any, *refusal) {
	space, no := s.space(c.param("AgentKey"))
	if no != nil {
		return nil, no
	}
	if instance := c.param("InstanceId"); instance != "" {
		if _, no := s.robotOf(instance, "InstanceId", space); no != nil {
			return nil, no
		}
	}
	id, word := c.param("MessageId"), strings.ToLower(c.param("Feedback"))
	switch {
	case id == "":
		return nil, missing("MessageId")
	case word == "":
		return nil, missing("Feedback")
	case word != "good" && word != "bad":
		return nil, invalid("Feedback", "It must be good or bad.")
	}
	known := s.journal.change(space, id, func(turn *turnRecord) { turn.feedback, turn.note = word, c.param("FeedbackContent") })
	if !known && !s.cfg.Assume.FeedbackForAny {
		return nil, invalid("MessageId", "No answer has this id.")
	}
	c.record.MessageID = id
	return feedbackAnswer{RequestID: c.record.RequestID, MessageID: id, Feedback: word}, nil
}

type cancelAnswer struct {
	RequestID    string `json:"RequestId"`
	CancelResult bool   `json:"CancelResult"`
}

// cancelChat ends the streams of a session, or of one message: the frame that comes next is
// the last. Answer is what the visitor has seen, which the lists show then.
func (s *Server) cancelChat(c *call) (any, *refusal) {
	space, no := s.space(c.param("AgentKey"))
	if no != nil {
		return nil, no
	}
	chat, session := c.param("ChatId"), c.param("SessionId")
	if chat == "" && session == "" {
		return nil, missing("SessionId")
	}
	if kind := c.param("Type"); kind != "" && !strings.EqualFold(kind, "Canceled") {
		return nil, invalid("Type", "It must be Canceled.")
	}
	instance := c.param("InstanceId")
	var shown *string
	if text := c.param("Answer"); text != "" {
		shown = &text
	}
	count := s.live.cancel(shown, func(t *stream) bool {
		return t.grant.space == space && (instance == "" || t.req.question.instance == instance) &&
			(chat == "" || t.req.messageID == chat || t.answerID == chat) && (session == "" || t.session == session)
	})
	return cancelAnswer{RequestID: c.record.RequestID, CancelResult: count > 0}, nil
}

type listAnswer struct {
	RequestID string       `json:"RequestId"`
	Datas     []listedTurn `json:"Datas"`
	CostTime  string       `json:"CostTime"` // milliseconds
}

// listedTurn is one turn; which fields there are is an assumption.
type listedTurn struct {
	MessageID       string `json:"MessageId"`
	ChatID          string `json:"ChatId,omitempty"`
	SessionID       string `json:"SessionId"`
	SenderID        string `json:"SenderId"`
	Utterance       string `json:"Utterance"`
	Answer          string `json:"Answer"`
	Source          string `json:"Source"`
	CreateTime      string `json:"CreateTime"`
	Feedback        string `json:"Feedback,omitempty"`
	FeedbackContent string `json:"FeedbackContent,omitempty"`
}

const (
	listLayout   = "2006-01-02 15:04:05"
	defaultLimit = 100
	maxLimit     = 1000
)

// china is the zone of the lists' times.
var china = time.FixedZone("CST", 8*3600)

func (s *Server) listZone() *time.Location {
	if s.cfg.Assume.ListsInUTC {
		return time.UTC
	}
	return china
}

// listHistories lists the turns of a robot within a time, both ends included, oldest first.
func (s *Server) listHistories(c *call) (any, *refusal) {
	from, no := s.listTime(c, "StartTime")
	if no != nil {
		return nil, no
	}
	to, no := s.listTime(c, "EndTime")
	if no != nil {
		return nil, no
	}
	limit := defaultLimit
	if text := c.param("Limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxLimit {
			return nil, invalid("Limit", "It must be between 1 and 1000.")
		}
	}
	return s.list(c, limit, func(turn turnRecord) bool {
		at := turn.at.Truncate(time.Second)
		return !at.Before(from) && !at.After(to)
	})
}

func (s *Server) listTime(c *call, name string) (time.Time, *refusal) {
	text := c.param(name)
	if text == "" {
		return time.Time{}, missing(name)
	}
	at, err := time.ParseInLocation(listLayout, text, s.listZone())
	if err != nil {
		return at, invalid(name, "It must be like 2024-04-01 08:00:00.")
	}
	return at, nil
}

// listConversation lists the turns of a session.
func (s *Server) listConversation(c *call) (any, *refusal) {
	session := c.param("SessionId")
	if session == "" {
		return nil, missing("SessionId")
	}
	return s.list(c, maxLimit, func(turn turnRecord) bool { return turn.session == session })
}

func (s *Server) list(c *call, limit int, match func(turnRecord) bool) (any, *refusal) {
	space, no := s.space(c.param("AgentKey"))
	if no != nil {
		return nil, no
	}
	instance := c.param("RobotInstanceId")
	c.record.Instance = instance
	if _, no := s.robotOf(instance, "RobotInstanceId", space); no != nil {
		return nil, no
	}
	out := listAnswer{RequestID: c.record.RequestID, Datas: []listedTurn{}, CostTime: "0"}
	for _, turn := range s.journal.find(space, instance, limit, match) {
		out.Datas = append(out.Datas, listedTurn{
			MessageID: turn.messageID, ChatID: turn.chatID, SessionID: turn.session, SenderID: turn.sender,
			Utterance: turn.question, Answer: turn.answer, Source: turn.source,
			CreateTime: turn.at.In(s.listZone()).Format(listLayout), Feedback: turn.feedback, FeedbackContent: turn.note,
		})
	}
	return out, nil
}
