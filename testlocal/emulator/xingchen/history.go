package xingchen

import (
	"slices"
	"sort"
)

type historyRequest struct {
	Where *struct {
		CharacterID string   `json:"characterId"`
		BizUserID   string   `json:"bizUserId"`
		StartTime   *int64   `json:"startTime"`
		EndTime     *int64   `json:"endTime"`
		SessionID   string   `json:"sessionId"`
		MessageIDs  []string `json:"messageIds"`
		ChatRoomID  *int     `json:"chatRoomId"`
	} `json:"where"`
	OrderBy  []string `json:"orderBy"`
	PageNum  *int     `json:"pageNum"`
	PageSize *int     `json:"pageSize"`
}

// historyRow is one message as histories show it.
type historyRow struct {
	MessageID       string        `json:"messageId"`
	ChatID          string        `json:"chatId"`
	SessionID       string        `json:"sessionId"`
	Content         string        `json:"content"`
	MessageType     string        `json:"messageType"`
	MessageIssuer   messageIssuer `json:"messageIssuer"`
	GmtCreate       int64         `json:"gmtCreate"`
	IsGreeting      bool          `json:"isGreeting"`
	Rating          *float64      `json:"rating,omitempty"`
	RegenerateTimes int           `json:"regenerateTimes"`
}

type messageIssuer struct {
	UserID    string `json:"userId"`
	BizUserID string `json:"bizUserId"`
	UserName  string `json:"userName"`
	UserType  string `json:"userType"`
}

// rows is an ordered set of messages, the oldest first, that pages are cut from: a stored room or a formula.
type rows interface {
	count() int
	at(i int) *message // the message is read only
	names() (characterID, characterName, userID, userName string)
}

func (s *Server) histories(c *call) (any, error) {
	var req historyRequest
	if err := decode(c.body, &req); err != nil {
		return nil, err
	}
	switch {
	case req.Where == nil:
		return nil, errParam.naming("where must not be empty")
	case req.Where.CharacterID == "":
		return nil, errParam.naming("where.characterId must not be empty")
	case req.Where.BizUserID == "":
		return nil, errParam.naming("where.bizUserId must not be empty")
	}
	p, err := pageOf(req.PageNum, req.PageSize)
	if err != nil {
		return nil, err
	}
	descending, err := historyOrder(req.OrderBy)
	if err != nil {
		return nil, err
	}
	s.state.mu.RLock()
	defer s.state.mu.RUnlock()
	all, err := s.rowsFor(c.account, req.Where.CharacterID, req.Where.BizUserID)
	if err != nil {
		return nil, err
	}
	view := s.choosePage(c, &req, all)
	found := view.page(p, descending)
	return listOf(p, s.shownRows(c, p, all, found), view.total(c, p)), nil
}

func historyOrder(orderBy []string) (bool, error) {
	descending := true
	for i, text := range orderBy {
		field, down, err := orderTerm(text)
		if err != nil {
			return false, err
		}
		if field != "gmtCreate" {
			return false, errParam.naming("orderBy knows gmtCreate only, not %q", field)
		}
		if i == 0 {
			descending = down
		}
	}
	return descending, nil
}

// rowsFor finds the rows of a user with a character. A deleted character's rows stay readable. The caller holds the lock.
func (s *Server) rowsFor(account, characterID, userID string) (rows, error) {
	if r, known := s.state.rooms[roomKey{account, characterID, userID}]; known {
		return roomRows{room: r, name: s.nameOf(characterID)}, nil
	}
	if made := s.formula.rows(account, characterID, userID); made != nil {
		return made, nil
	}
	if _, err := s.callable(account, characterID); err != nil {
		return nil, err
	}
	return roomRows{room: &room{CharacterID: characterID, UserID: userID}}, nil
}

func (s *Server) nameOf(characterID string) string {
	found, known := s.state.characters[characterID]
	if !known {
		return ""
	}
	k, err := found.Profile.known()
	if err != nil {
		return ""
	}
	return k.Name
}

type roomRows struct {
	room *room
	name string
}

func (r roomRows) count() int        { return len(r.room.Messages) }
func (r roomRows) at(i int) *message { return r.room.Messages[i] }
func (r roomRows) names() (string, string, string, string) {
	return r.room.CharacterID, r.name, r.room.UserID, r.room.UserName
}

// view is the rows of a history that a request is about: a range, or single ones if ids or a session select them.
type view struct {
	all      rows
	from, to int
	selected []int
	picked   bool
}

func (s *Server) choosePage(c *call, req *historyRequest, all rows) *view {
	where := req.Where
	v := &view{all: all, to: all.count()}
	if where.StartTime != nil {
		v.from = sort.Search(all.count(), func(i int) bool { return all.at(i).At >= *where.StartTime })
	}
	if where.EndTime != nil {
		v.to = sort.Search(all.count(), func(i int) bool { return all.at(i).At > *where.EndTime })
	}
	v.to = max(v.to, v.from)
	v.hideLate(c)
	if where.SessionID == "" && len(where.MessageIDs) == 0 && where.ChatRoomID == nil {
		return v
	}
	v.picked = true
	if where.ChatRoomID != nil && !roomHas(all, *where.ChatRoomID) {
		return v
	}
	for i := v.from; i < v.to; i++ {
		m := all.at(i)
		if where.SessionID != "" && m.SessionID != where.SessionID {
			continue
		}
		if len(where.MessageIDs) > 0 && !slices.Contains(where.MessageIDs, m.ID) {
			continue
		}
		v.selected = append(v.selected, i)
	}
	return v
}

func roomHas(all rows, id int) bool {
	switch r := all.(type) {
	case roomRows:
		return r.room.ID == id
	case *formulaRows:
		return r.roomID() == id
	}
	return false
}

func (v *view) count() int {
	if v.picked {
		return len(v.selected)
	}
	return v.to - v.from
}

func (v *view) page(p page, descending bool) []*message {
	count := v.count()
	first := min(p.offset(), count)
	last := min(first+p.size, count)
	found := make([]*message, 0, last-first)
	for i := first; i < last; i++ {
		place := i
		if descending {
			place = count - 1 - i
		}
		if v.picked {
			found = append(found, v.all.at(v.selected[place]))
			continue
		}
		found = append(found, v.all.at(v.from+place))
	}
	return found
}

func (s *Server) showRow(all rows, m *message) historyRow {
	characterID, characterName, userID, userName := all.names()
	row := historyRow{
		MessageID: m.ID, ChatID: m.ChatID, SessionID: m.SessionID, Content: m.Content, MessageType: m.Type,
		GmtCreate: m.At, RegenerateTimes: m.Regenerated, IsGreeting: m.Type == typeOpening || m.Type == s.cfg.Assume.ReminderType,
		MessageIssuer: messageIssuer{UserID: characterID, UserName: characterName, UserType: "character"},
	}
	if m.Type == typeUser {
		row.MessageIssuer = messageIssuer{UserID: userID, BizUserID: userID, UserName: userName, UserType: "user"}
	}
	if rated, known := s.state.ratings[m.ID]; known {
		value := float64(rated.Value)
		row.Rating = &value
	}
	return row
}
