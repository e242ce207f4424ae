package xingchen

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// History is a large history that is computed and not stored: Messages messages of Users users with Characters
// characters of the first account, spread evenly over [From, To). The same numbers and seed give the same rows.
type History struct {
	Characters, Users, Messages int
	From, To                    time.Time
}

// ParseHistory reads "characters=2,users=1000,messages=10000000,from=2024-01-01T00:00:00Z,to=2024-02-01T00:00:00Z". Times
// are RFC 3339 or dates; characters and users default to 1, the range to the 30 days from 2024-01-01.
func ParseHistory(text string) (History, error) {
	from := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	h := History{Characters: 1, Users: 1, From: from, To: from.AddDate(0, 0, 30)}
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		var err error
		switch name {
		case "characters":
			h.Characters, err = strconv.Atoi(value)
		case "users":
			h.Users, err = strconv.Atoi(value)
		case "messages":
			h.Messages, err = strconv.Atoi(value)
		case "from":
			h.From, err = parseTime(value)
		case "to":
			h.To, err = parseTime(value)
		default:
			err = errors.New("known are characters, users, messages, from and to")
		}
		if err != nil {
			return History{}, fmt.Errorf("history: %q: %w", part, err)
		}
	}
	return h, h.Validate()
}

func parseTime(text string) (time.Time, error) {
	if at, err := time.Parse(time.DateOnly, text); err == nil {
		return at, nil
	}
	return time.Parse(time.RFC3339, text)
}

// Validate reports numbers that make no history.
func (h History) Validate() error {
	switch {
	case h.Characters < 1 || h.Characters > 10_000:
		return errors.New("history: characters must be between 1 and 10000")
	case h.Users < 1 || h.Users > 100_000_000:
		return errors.New("history: users must be between 1 and 100000000")
	case h.Messages < 0:
		return errors.New("history: messages must not be negative")
	case !h.From.Before(h.To):
		return errors.New("history: from must be before to")
	}
	return nil
}

// CharacterIDs lists the ids of the characters of a history under a seed (0 means the default, 1).
func (h History) CharacterIDs(seed uint64) []string {
	if seed == 0 {
		seed = 1
	}
	ids := make([]string, h.Characters)
	for i := range ids {
		ids[i] = formulaCharacterID(seed, i)
	}
	return ids
}

// UserID is the id of a user of a history; the first is user-0.
func (h History) UserID(index int) string { return userPrefix + strconv.Itoa(index) }

const userPrefix = "user-"

func formulaCharacterID(seed uint64, index int) string {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], scramble(seed^0x68697374))
	binary.BigEndian.PutUint64(id[8:], scramble(uint64(index)+seed))
	return hex.EncodeToString(id[:])
}

// formula computes a History. A nil formula has no rows.
type formula struct {
	history History
	seed    uint64
	account string
	index   map[string]int
	list    []*character
	roomIDs int
	millis  int64
	from    int64
}

func newFormula(h History, seed uint64, account string) *formula {
	f := &formula{
		history: h, seed: seed, account: account, index: make(map[string]int, h.Characters), roomIDs: 10_000_000,
		from: h.From.UnixMilli(), millis: h.To.UnixMilli() - h.From.UnixMilli(),
	}
	for i, id := range h.CharacterIDs(seed) {
		f.index[id] = i
		f.list = append(f.list, f.makeCharacter(id, i))
	}
	return f
}

func (f *formula) makeCharacter(id string, index int) *character {
	number := strconv.Itoa(index + 1)
	fields := make(profile)
	for name, value := range map[string]string{
		"name": "历史角色" + number, "introduction": "有很长的对话历史", "basicInformation": "你是历史角色" + number + "。",
		"openingLine": "我们又见面了。", "type": "virtual",
	} {
		fields[name], _ = json.Marshal(value) // a string cannot fail
	}
	return &character{ID: id, Owner: f.account, Version: 1, Profile: fields, Created: f.from, Modified: f.from}
}

func (f *formula) character(id string) *character {
	if f == nil {
		return nil
	}
	if i, known := f.index[id]; known {
		return f.list[i]
	}
	return nil
}

func (f *formula) characters() []*character {
	if f == nil {
		return nil
	}
	return f.list
}

// rows finds the rows of a user with a character; nil if the history has none such.
func (f *formula) rows(account, characterID, userID string) *formulaRows {
	if f == nil || account != f.account {
		return nil
	}
	character, known := f.index[characterID]
	digits, named := strings.CutPrefix(userID, userPrefix)
	if !known || !named {
		return nil
	}
	user, err := strconv.Atoi(digits)
	if err != nil || user < 0 || user >= f.history.Users || strconv.Itoa(user) != digits {
		return nil
	}
	return f.roomAt(character*f.history.Users + user)
}

func (f *formula) roomAt(number int) *formulaRows {
	rooms := f.history.Characters * f.history.Users
	size := f.history.Messages / rooms
	if number < f.history.Messages%rooms {
		size++
	}
	return &formulaRows{formula: f, number: number, size: size}
}

// has reports whether the id is one of the history's messages: ids can be turned back into their place.
func (f *formula) has(account, messageID string) bool {
	raw, err := hex.DecodeString(messageID)
	if f == nil || account != f.account || err != nil || len(raw) != 16 {
		return false
	}
	number := unscramble(binary.BigEndian.Uint64(raw[:8])) - f.seed
	if number >= uint64(f.history.Characters*f.history.Users) {
		return false
	}
	place := unscramble(binary.BigEndian.Uint64(raw[8:])) - number
	return place < uint64(f.roomAt(int(number)).size)
}

// formulaRows are the rows of one room.
type formulaRows struct {
	formula *formula
	number  int
	size    int
}

func (r *formulaRows) count() int  { return r.size }
func (r *formulaRows) roomID() int { return r.formula.roomIDs + r.number }

func (r *formulaRows) names() (string, string, string, string) {
	character, user := r.number/r.formula.history.Users, r.number%r.formula.history.Users
	id := r.formula.list[character].ID
	return id, "历史角色" + strconv.Itoa(character+1), r.formula.history.UserID(user), ""
}

// at computes a row. Rows lie evenly in the range, shifted by less than the distance to the next.
func (r *formulaRows) at(i int) *message {
	step := r.formula.millis / int64(r.size)
	at := r.formula.from + int64(i)*r.formula.millis/int64(r.size)
	if step > 1 {
		at += int64(scramble(uint64(r.number)<<32^uint64(i)) % uint64(step))
	}
	m := &message{ID: r.id(i), ChatID: r.derived("chat", i/2), SessionID: r.derived("session", 0), At: at}
	switch i % 2 {
	case 0:
		m.Type, m.Content = typeUser, questions[scramble(uint64(r.number+i))%uint64(len(questions))]
	default:
		m.Type, m.Content = typeCharacter, answers[scramble(uint64(r.number+i))%uint64(len(answers))]
	}
	m.Content += " #" + strconv.Itoa(i)
	return m
}

var (
	questions = []string{"今天过得怎么样?", "你在忙什么呢", "给我讲个笑话吧。", "周末一起去爬山好吗?", "你还记得我说过的话吗?", "晚饭吃什么好"}
	answers   = []string{
		"还不错,刚刚看完一本书,你呢?", "我在想你什么时候来找我聊天。", "从前有一只猫,它以为自己是狮子,后来它真的成了狮子。",
		"好呀,早上七点在车站见,记得带水。", "当然记得,你说的每一句我都记着。", "天冷了,吃火锅吧,多放点青菜。",
	}
)

func (r *formulaRows) id(i int) string {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], scramble(uint64(r.number)+r.formula.seed))
	binary.BigEndian.PutUint64(id[8:], scramble(uint64(i)+uint64(r.number)))
	return hex.EncodeToString(id[:])
}

func (r *formulaRows) derived(kind string, n int) string {
	a := hash64(r.formula.seed+uint64(n), kind)
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], scramble(a+uint64(r.number)))
	binary.BigEndian.PutUint64(id[8:], scramble(a^uint64(r.number)<<20))
	return hex.EncodeToString(id[:])
}
