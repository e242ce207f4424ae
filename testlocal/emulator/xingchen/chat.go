package xingchen

import (
	"iter"
	"strings"
	"unicode/utf8"
)

// exchange is one question and its answer while it is being made.
type exchange struct {
	call     *call
	req      *chatRequest
	persona  Persona
	prompt   Prompt
	room     *room    // nil if nothing is stored
	question *message // nil if nothing is stored
	answer   *message // nil until it is stored
	answerID string   // known before the answer is stored
	chatID   string
	model    string
	inspect  bool
	reply    string
	live     iter.Seq2[string, error] // in place of reply, while it is being made
	finish   string
	seed     uint64
	started  int64
	tokens   int
}

// chat answers chat/send, streamed or whole.
func (s *Server) chat(c *call) (any, error) {
	var req chatRequest
	if err := decode(c.body, &req); err != nil {
		return nil, err
	}
	return s.converse(c, &req)
}

// regenerate answers chat/generate: chat/send with isRegenerate.
func (s *Server) regenerate(c *call) (any, error) {
	var req chatRequest
	if err := decode(c.body, &req); err != nil {
		return nil, err
	}
	if req.Input != nil && req.Input.Aca != nil {
		req.Input.Aca.Context.IsRegenerate = true
	}
	return s.converse(c, &req)
}

func (s *Server) converse(c *call, req *chatRequest) (any, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	who := talker{account: c.account, user: req.Input.Aca.UserProfile.UserID}
	if !s.takeTurn(who) {
		return nil, s.errParallel()
	}
	defer s.endTurn(who)
	e, err := s.begin(c, req)
	if err != nil {
		return nil, err
	}
	if c.stream {
		return nil, s.stream(e)
	}
	return s.whole(e)
}

func (s *Server) takeTurn(who talker) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.talking[who] && !s.cfg.Assume.ParallelAllowed {
		return false
	}
	s.talking[who] = true
	return true
}

func (s *Server) endTurn(who talker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.talking, who)
}

// begin finds who answers, stores the question and words the reply.
func (s *Server) begin(c *call, req *chatRequest) (*exchange, error) {
	e := &exchange{
		call: c, req: req, inspect: enabled(c.r.Header, "X-AcA-DataInspection", "X-DashScope-DataInspection"),
		started: s.cfg.Now().UnixMilli(), seed: s.seedOf(req),
	}
	if err := s.inspected(e); err != nil {
		return nil, err
	}
	if err := s.prepare(e); err != nil {
		return nil, err
	}
	if streamer, ok := s.cfg.Replier.(Streamer); ok && c.stream {
		return e, s.wordLive(e, streamer)
	}
	reply, err := s.word(c, e.prompt)
	if err != nil {
		return nil, err
	}
	e.reply, e.finish = s.cutToLength(e, reply)
	return e, nil
}

func (s *Server) seedOf(req *chatRequest) uint64 {
	seed := int64(defaultSeed)
	if req.Parameters.Seed != nil {
		seed = *req.Parameters.Seed
	}
	return s.cfg.Seed ^ scramble(uint64(seed))
}

func (s *Server) inspected(e *exchange) error {
	if !e.inspect {
		return nil
	}
	for _, message := range e.req.Input.Messages {
		for _, word := range s.cfg.Assume.BlockedWords {
			if strings.Contains(message.Content, word) {
				return errInspection.naming("inappropriate content")
			}
		}
	}
	return nil
}

func (s *Server) word(c *call, prompt Prompt) (string, error) {
	replier := s.cfg.Replier
	if replier == nil {
		replier = scriptReplier{}
	}
	text, err := replier.Reply(c.r.Context(), prompt)
	if err != nil {
		return "", s.errWording(c, err)
	}
	return text, nil
}

// prepare resolves the persona, the room and the prompt, and stores the question.
func (s *Server) prepare(e *exchange) error {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	a := e.req.Input.Aca
	persona, err := s.persona(e.call, a)
	if err != nil {
		return err
	}
	e.persona = persona
	e.model = firstText(e.req.Model, e.req.Parameters.ModelName, persona.model, defaultModel)
	e.prompt = Prompt{
		Persona: persona, UserName: a.UserProfile.UserName, Scene: a.Scenario.Description, Seed: e.seed,
		Messages: turnsOf(e.req.Input.Messages),
	}
	e.answerID, e.chatID = s.ids.hex(), s.ids.hex()
	if a.Context.IsRegenerate {
		e.prompt.Variation = 1
	}
	if persona.CharacterID == "" {
		e.call.requestID = strings.ReplaceAll(e.call.requestID, "-", "")
	} else if a.usesHistory() || !s.cfg.Assume.HistoryUnused {
		if err := s.enter(e); err != nil {
			return err
		}
	}
	e.tokens = promptTokens(e.prompt)
	return nil
}

// enter puts the exchange into its room. The caller holds the lock.
func (s *Server) enter(e *exchange) error {
	a := e.req.Input.Aca
	key := roomKey{e.call.account, e.persona.CharacterID, a.UserProfile.UserID}
	if a.regeneratesStored() {
		return s.enterAgain(e, key)
	}
	e.room = s.room(key, e.persona.OpeningLine)
	e.room.UserName = a.UserProfile.UserName
	if a.Context.AnswerID != "" && !s.choose(e.room, a.Context.AnswerID) {
		return errNotFound.naming("answer %s", a.Context.AnswerID)
	}
	if a.usesHistory() {
		past := e.room.remembered(2 * e.persona.memoryRounds)
		e.prompt.Messages = append(turnsOfRows(past), e.prompt.Messages...)
	}
	messages := e.req.Input.Messages
	if s.cfg.Assume.StoreAllMessages {
		for _, earlier := range messages[:len(messages)-1] {
			s.write(e.room, rowType(earlier.Role), e.chatID, earlier.Content)
		}
	}
	e.question = s.write(e.room, typeUser, e.chatID, messages[len(messages)-1].Content)
	return nil
}

// enterAgain finds the stored question that is to be answered anew.
func (s *Server) enterAgain(e *exchange, key roomKey) error {
	id := e.req.Input.Aca.Context.QueryID
	question, known := s.state.messages[id]
	r, inRoom := s.state.rooms[key]
	if !known || !inRoom || question.room != r || question.Type != typeUser {
		return errNotFound.naming("question %s", id)
	}
	e.room, e.question, e.chatID = r, question, question.ChatID
	e.prompt.Messages = nil
	for _, row := range r.Messages {
		e.prompt.Messages = append(e.prompt.Messages, turnsOfRows([]*message{row})...)
		if row == question {
			break
		}
	}
	e.prompt.Variation = 1 + len(r.Others[question.ChatID])
	return nil
}

// settle stores the answer, as far as it was said. Only the first call does something.
func (s *Server) settle(e *exchange, text string) {
	if e.room == nil || e.answer != nil {
		return
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if e.req.Input.Aca.regeneratesStored() {
		e.answer = s.replace(e.room, e.question, text)
	} else {
		e.answer = s.write(e.room, typeCharacter, e.chatID, text)
	}
	delete(s.state.messages, e.answer.ID)
	e.answer.ID = e.answerID
	s.state.messages[e.answerID] = e.answer
	s.startPicture(e)
}

// cutToLength cuts a reply to the longest that is allowed and says why it ended.
func (s *Server) cutToLength(e *exchange, reply string) (string, string) {
	limit, count := s.limit(e), 0
	for i, r := range reply {
		if r == frameMark {
			continue
		}
		if limit >= 0 && count == limit {
			return reply[:i], "length"
		}
		count++
	}
	return reply, "stop"
}

// limit is the longest reply in characters; negative for none.
func (s *Server) limit(e *exchange) int {
	switch {
	case e.req.Parameters.MaxLength != nil:
		return *e.req.Parameters.MaxLength
	case e.persona.maxLength > 0:
		return e.persona.maxLength
	}
	return s.cfg.Assume.MaxLength
}

func turnsOf(messages []turn) []Turn {
	turns := make([]Turn, 0, len(messages))
	for _, message := range messages {
		turns = append(turns, Turn{Role: message.Role, Content: message.Content})
	}
	return turns
}

func turnsOfRows(rows []*message) []Turn {
	turns := make([]Turn, 0, len(rows))
	for _, row := range rows {
		role := "assistant"
		if row.Type == typeUser {
			role = "user"
		}
		turns = append(turns, Turn{Role: role, Content: row.Content})
	}
	return turns
}

func rowType(role string) string {
	if role == "user" {
		return typeUser
	}
	return typeCharacter
}

// promptTokens counts a token a character.
func promptTokens(p Prompt) int {
	count := 0
	for _, text := range []string{p.Persona.Name, p.Persona.Introduction, p.Persona.Basic, p.Persona.Traits, p.Scene} {
		count += utf8.RuneCountInString(text)
	}
	for _, turn := range p.Messages {
		count += utf8.RuneCountInString(turn.Content)
	}
	return count
}

func firstText(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
