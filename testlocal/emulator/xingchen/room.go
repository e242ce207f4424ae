package xingchen

import (
	"maps"
	"slices"
	"sync"
)

// Types of a message in a history.
const (
	typeOpening   = "opening_remarks"
	typeReminder  = "sys_greetings"
	typeUser      = "user"
	typeCharacter = "character"
)

// state is all that the server remembers.
type state struct {
	mu         sync.RWMutex
	characters map[string]*character
	rooms      map[roomKey]*room
	messages   map[string]*message
	pictures   map[string]*picture
	ratings    map[string]rating
	nextRoom   int
	dirty      bool
}

type roomKey struct{ account, character, user string }

// room is the conversation of one user with one character of an account.
type room struct {
	ID          int                   `json:"id"`
	Account     string                `json:"account"`
	CharacterID string                `json:"characterId"`
	UserID      string                `json:"userId"`
	UserName    string                `json:"userName,omitempty"`
	SessionID   string                `json:"sessionId"`
	Messages    []*message            `json:"messages"`
	Remembered  int                   `json:"remembered"` // index of the first message that chat still knows of
	Others      map[string][]*message `json:"others,omitempty"`
}

// message is one row of a history.
type message struct {
	ID          string `json:"id"`
	ChatID      string `json:"chatId"`
	SessionID   string `json:"sessionId"`
	Type        string `json:"type"`
	Content     string `json:"content"`
	At          int64  `json:"at"`
	Regenerated int    `json:"regenerated,omitempty"`

	room *room
}

type rating struct {
	Value int    `json:"value"`
	Info  string `json:"info,omitempty"`
}

func newState() *state {
	return &state{
		characters: make(map[string]*character),
		rooms:      make(map[roomKey]*room),
		messages:   make(map[string]*message),
		pictures:   make(map[string]*picture),
		ratings:    make(map[string]rating),
		nextRoom:   80473,
	}
}

// room returns the room, made and opened with the opening line if it is new. The caller holds the lock.
func (s *Server) room(key roomKey, opening string) *room {
	if r, known := s.state.rooms[key]; known {
		s.renew(r, opening)
		return r
	}
	r := &room{
		ID: s.state.nextRoom, Account: key.account, CharacterID: key.character, UserID: key.user,
		SessionID: s.ids.hex(), Others: make(map[string][]*message),
	}
	s.state.nextRoom++
	s.state.rooms[key] = r
	s.open(r, opening)
	return r
}

// renew begins a new session where the old one is over.
func (s *Server) renew(r *room, opening string) {
	idle := s.cfg.Assume.SessionIdle
	expired := idle > 0 && len(r.Messages) > 0 && s.cfg.Now().UnixMilli()-r.Messages[len(r.Messages)-1].At > idle.Milliseconds()
	if r.SessionID != "" && !expired {
		return
	}
	r.SessionID, r.Remembered = s.ids.hex(), len(r.Messages)
	s.open(r, opening)
}

func (s *Server) open(r *room, opening string) {
	if opening != "" && !s.cfg.Assume.NoOpeningLine {
		s.write(r, typeOpening, s.ids.hex(), opening)
	}
}

// write appends a row. Time never runs backwards in a room. The caller holds the lock.
func (s *Server) write(r *room, kind, chatID, content string) *message {
	at := s.cfg.Now().UnixMilli()
	if n := len(r.Messages); n > 0 {
		at = max(at, r.Messages[n-1].At)
	}
	m := &message{
		ID: s.ids.hex(), ChatID: chatID, SessionID: r.SessionID, Type: kind, Content: content, At: at, room: r,
	}
	r.Messages = append(r.Messages, m)
	s.state.messages[m.ID] = m
	s.state.dirty = true
	return m
}

// remembered copies the rows that chat knows of, the last so many. The caller holds the lock.
func (r *room) remembered(rows int) []*message {
	known := r.Messages[min(r.Remembered, len(r.Messages)):]
	if rows > 0 && len(known) > rows {
		known = known[len(known)-rows:]
	}
	return slices.Clone(known)
}

// replace puts a new answer in the place of the one that the same question had; the old one can be chosen again.
func (s *Server) replace(r *room, question *message, content string) *message {
	i := slices.IndexFunc(r.Messages, func(m *message) bool {
		return m.ChatID == question.ChatID && m.Type == typeCharacter
	})
	if i < 0 {
		return s.write(r, typeCharacter, question.ChatID, content)
	}
	old := r.Messages[i]
	if r.Others == nil {
		r.Others = make(map[string][]*message)
	}
	r.Others[question.ChatID] = append(r.Others[question.ChatID], old)
	fresh := *old
	fresh.ID, fresh.Content, fresh.Regenerated = s.ids.hex(), content, old.Regenerated+1
	r.Messages[i] = &fresh
	s.state.messages[fresh.ID] = &fresh
	s.state.dirty = true
	return &fresh
}

// choose puts an earlier answer back into its place; false if the room has no such answer. The caller holds the lock.
func (s *Server) choose(r *room, answerID string) bool {
	chosen, known := s.state.messages[answerID]
	if !known || chosen.room != r || chosen.Type != typeCharacter {
		return false
	}
	i := slices.IndexFunc(r.Messages, func(m *message) bool {
		return m.ChatID == chosen.ChatID && m.Type == typeCharacter
	})
	if i < 0 || r.Messages[i] == chosen {
		return i >= 0
	}
	others := slices.DeleteFunc(r.Others[chosen.ChatID], func(m *message) bool { return m == chosen })
	r.Others[chosen.ChatID] = append(others, r.Messages[i])
	r.Messages[i] = chosen
	s.state.dirty = true
	return true
}

type resetRequest struct {
	CharacterID string `json:"characterId"`
	UserID      string `json:"userId"`
}

// reset forgets the conversation of a user with a character: the next chat begins a new session.
func (s *Server) reset(c *call) (any, error) {
	var req resetRequest
	if err := decode(c.body, &req); err != nil {
		return nil, err
	}
	if req.CharacterID == "" {
		return nil, errParam.naming("characterId must not be empty")
	}
	if req.UserID == "" {
		return nil, errParam.naming("userId must not be empty")
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	r, known := s.state.rooms[roomKey{c.account, req.CharacterID, req.UserID}]
	if !known {
		if _, err := s.callable(c.account, req.CharacterID); err != nil {
			return nil, err
		}
		return true, nil
	}
	r.SessionID, r.Remembered = "", len(r.Messages)
	if s.cfg.Assume.ResetDeletes {
		maps.DeleteFunc(s.state.messages, func(_ string, m *message) bool { return m.room == r })
		r.Messages, r.Others, r.Remembered = nil, make(map[string][]*message), 0
	}
	s.state.dirty = true
	return true, nil
}
