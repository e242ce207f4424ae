package xingchen

import "strings"

type ratingRequest struct {
	MessageID string `json:"messageId"`
	Rating    *int   `json:"rating"`
	Info      string `json:"info"`
}

// rate keeps a rating of a message; a later one replaces it.
func (s *Server) rate(c *call) (any, error) {
	var req ratingRequest
	if err := decode(c.body, &req); err != nil {
		return nil, err
	}
	least := -1
	if s.cfg.Assume.RatingFromZero {
		least = 0
	}
	switch {
	case req.MessageID == "":
		return nil, errParam.naming("messageId must not be empty")
	case req.Rating == nil:
		return nil, errParam.naming("rating must not be empty")
	case *req.Rating < least || *req.Rating > 5:
		return nil, errParam.naming("rating must be between %d and 5", least)
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	m, known := s.state.messages[req.MessageID]
	if known && m.room.Account != c.account || !known && !s.formula.has(c.account, req.MessageID) {
		return nil, errNotFound.naming("message %s", req.MessageID)
	}
	s.state.ratings[req.MessageID] = rating{Value: *req.Rating, Info: req.Info}
	s.state.dirty = true
	return true, nil
}

type reminderRequest struct {
	CharacterID string `json:"characterId"`
	BizUserID   string `json:"bizUserId"`
	Content     string `json:"content"`
	ChatRoomID  *int   `json:"chatRoomId"`
}

// remind writes a line of the character into the history, so that the next chat knows of it.
func (s *Server) remind(c *call) (any, error) {
	var req reminderRequest
	if err := decode(c.body, &req); err != nil {
		return nil, err
	}
	switch {
	case req.CharacterID == "":
		return nil, errParam.naming("characterId must not be empty")
	case req.BizUserID == "":
		return nil, errParam.naming("bizUserId must not be empty")
	case strings.TrimSpace(req.Content) == "":
		return nil, errParam.naming("content must not be empty")
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	found, err := s.callable(c.account, req.CharacterID)
	if err != nil {
		return nil, err
	}
	k, err := found.Profile.known()
	if err != nil {
		return nil, err
	}
	key := roomKey{c.account, req.CharacterID, req.BizUserID}
	if r, known := s.state.rooms[key]; req.ChatRoomID != nil && (!known || r.ID != *req.ChatRoomID) {
		return nil, errNotFound.naming("chat room %d", *req.ChatRoomID)
	}
	s.write(s.room(key, k.OpeningLine), s.cfg.Assume.ReminderType, s.ids.hex(), req.Content)
	return true, nil
}
