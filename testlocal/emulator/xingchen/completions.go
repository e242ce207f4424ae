package xingchen

import (
	"encoding/json"
	"iter"
	"net/http"
	"strings"
	"unicode/utf8"

	"xinghe/testlocal/emulator/fault"
)

// completionRequest is the body of the model interface, chat/completions, which the vendor's pages describe. Fields that
// steer the wording only are taken and left alone.
type completionRequest struct {
	Model       string          `json:"model"`
	Messages    []turn          `json:"messages"`
	Stream      bool            `json:"stream"`
	N           *int            `json:"n"`
	Seed        *int64          `json:"seed"`
	Temperature *float64        `json:"temperature"`
	TopP        *float64        `json:"top_p"`
	Stop        json.RawMessage `json:"stop"`
	MaxTokens   *int            `json:"max_tokens"`
}

const (
	defaultCompletionModel = "xingchen-plus-latest"
	maxCompletions         = 4
	completionTokens       = 1500 // unless the request says otherwise
)

func (r *completionRequest) check() error {
	switch {
	case len(r.Messages) == 0:
		return errParam.naming("messages must not be empty")
	case r.N != nil && (*r.N < 1 || *r.N > maxCompletions):
		return errParam.naming("n must be between 1 and %d", maxCompletions)
	case r.Temperature != nil && *r.Temperature < 0:
		return errParam.naming("temperature must not be negative")
	case r.TopP != nil && (*r.TopP <= 0 || *r.TopP > 1):
		return errParam.naming("top_p must be above 0 and at most 1")
	case r.MaxTokens != nil && *r.MaxTokens < 1:
		return errParam.naming("max_tokens must be at least 1")
	}
	_, err := r.stops()
	return err
}

// stops reads a text or a list of texts.
func (r *completionRequest) stops() ([]string, error) {
	if len(r.Stop) == 0 || string(r.Stop) == "null" {
		return nil, nil
	}
	var one string
	if json.Unmarshal(r.Stop, &one) == nil {
		return []string{one}, nil
	}
	var list []string
	if json.Unmarshal(r.Stop, &list) != nil {
		return nil, errParam.naming("stop must be a text or a list of texts")
	}
	return list, nil
}

// completion is the answer of the model interface, which is no envelope.
type completion struct {
	ID      string             `json:"id"`
	Object  string             `json:"object"`
	Created int64              `json:"created"`
	Model   string             `json:"model"`
	Choices []completionChoice `json:"choices"`
	Usage   *completionUsage   `json:"usage,omitempty"`
}

type completionChoice struct {
	Index        int                `json:"index"`
	Message      *completionMessage `json:"message,omitempty"`
	Delta        *completionMessage `json:"delta,omitempty"`
	FinishReason *string            `json:"finish_reason"`
}

type completionMessage struct {
	Role    string `json:"role,omitempty"`
	Content string `json:"content"`
}

type completionUsage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	TotalTokens      int `json:"total_tokens"`
}

// complete answers the model interface. The persona is what a system message says; nothing is stored.
func (s *Server) complete(c *call) (any, error) {
	var req completionRequest
	if err := decode(c.body, &req); err != nil {
		return nil, err
	}
	if err := req.check(); err != nil {
		return nil, err
	}
	chat := chatRequest{Model: firstText(req.Model, defaultCompletionModel), group: true}
	chat.Input = &chatInput{Messages: req.Messages, Aca: new(aca)}
	tokens := completionTokens
	chat.Parameters.Seed, chat.Parameters.MaxLength = req.Seed, &tokens
	if req.MaxTokens != nil {
		chat.Parameters.MaxLength = req.MaxTokens
	}
	if err := chat.checkMessages(); err != nil {
		return nil, err
	}
	e := &exchange{call: c, req: &chat, model: chat.Model, started: s.cfg.Now().Unix(), seed: s.seedOf(&chat)}
	e.prompt = Prompt{Messages: turnsOf(req.Messages), Seed: e.seed}
	if e.prompt.Messages[0].Role == "system" {
		e.prompt.Persona.Basic = e.prompt.Messages[0].Content
		e.prompt.Messages = e.prompt.Messages[1:]
	}
	e.tokens = promptTokens(e.prompt)
	e.answerID = "chatcmpl-" + s.ids.hex()
	if req.Stream {
		return nil, s.streamCompletion(e, &req)
	}
	return nil, s.wholeCompletion(e, &req)
}

// completed words a choice, up to the first of its stops.
func (s *Server) completed(e *exchange, req *completionRequest, index int) (text, finish string, err error) {
	prompt := e.prompt
	prompt.Variation = index
	reply, err := s.word(e.call, prompt)
	if err != nil {
		return "", "", err
	}
	text, finish = s.cutToLength(e, reply)
	stops, err := req.stops()
	for _, stop := range stops {
		if before, _, cut := strings.Cut(text, stop); cut && stop != "" {
			text, finish = before, "stop"
		}
	}
	return text, finish, err
}

func (e *exchange) completion(object string) completion {
	return completion{ID: e.answerID, Object: object, Created: e.started, Model: e.model}
}

func (e *exchange) completionUsage(said int) *completionUsage {
	return &completionUsage{PromptTokens: e.tokens, CompletionTokens: said, TotalTokens: e.tokens + said}
}

func (s *Server) wholeCompletion(e *exchange, req *completionRequest) error {
	answer, said := e.completion("chat.completion"), 0
	for index := range req.count() {
		text, finish, err := s.completed(e, req, index)
		if err != nil {
			return err
		}
		text = unmarked(text)
		said += utf8.RuneCountInString(text)
		answer.Choices = append(answer.Choices, completionChoice{Index: index, Message: &completionMessage{"assistant", text}, FinishReason: &finish})
	}
	answer.Usage = e.completionUsage(said)
	body, err := encode(answer)
	if err != nil {
		return err
	}
	_ = e.call.plan.Respond(e.call.r.Context(), e.call.w, http.StatusOK, jsonType, body)
	return errAnswered
}

func (r *completionRequest) count() int {
	if r.N == nil {
		return 1
	}
	return *r.N
}

// streamCompletion sends increments, one choice after the other.
func (s *Server) streamCompletion(e *exchange, req *completionRequest) error {
	sources, err := s.completionSources(e, req)
	if err != nil {
		return err
	}
	c := e.call
	c.w.Header().Set("Content-Type", s.cfg.Assume.StreamContentType)
	c.w.Header().Set("Cache-Control", "no-cache")
	c.w.WriteHeader(http.StatusOK)
	frames := s.frames(e)
	defer frames.Close()
	frames.ErrorFrame = s.errorFrame(c)
	said := 0
	for index, source := range sources {
		role := "assistant"
		for piece, err := range source.pieces {
			if err != nil {
				_ = frames.Write(frames.ErrorFrame, true)
				return errAnswered
			}
			said += utf8.RuneCountInString(piece)
			if s.sendCompletion(e, frames, completionChoice{Index: index, Delta: &completionMessage{role, piece}}, nil) != nil {
				return errAnswered
			}
			role = ""
		}
		last := completionChoice{Index: index, Delta: &completionMessage{}, FinishReason: source.finish}
		var usage *completionUsage
		if index == len(sources)-1 {
			usage = e.completionUsage(said)
		}
		if s.sendCompletion(e, frames, last, usage) != nil {
			return errAnswered
		}
	}
	_ = frames.Write(s.dataFrame([]byte("[DONE]")), true)
	return errAnswered
}

// completionSource is where the pieces of a choice come from; finish is known at their end.
type completionSource struct {
	pieces iter.Seq2[string, error]
	finish *string
}

// completionSources words all choices, but one alone that has no stops while it is told, if it can be.
func (s *Server) completionSources(e *exchange, req *completionRequest) (sources []completionSource, err error) {
	streamer, live := s.cfg.Replier.(Streamer)
	if stops, err := req.stops(); live && req.count() == 1 && len(stops) == 0 && err == nil {
		if err := s.wordLive(e, streamer); err != nil {
			return nil, err
		}
		return []completionSource{{e.pieces(), &e.finish}}, nil
	}
	for index := range req.count() {
		text, finish, err := s.completed(e, req, index)
		if err != nil {
			return nil, err
		}
		worded := exchange{reply: text, seed: e.seed}
		sources = append(sources, completionSource{worded.pieces(), &finish})
	}
	return sources, nil
}

// dataFrame is a frame without an event line.
func (s *Server) dataFrame(data []byte) []byte {
	frame := []byte("data:")
	if s.cfg.Assume.SpaceAfterData {
		frame = append(frame, ' ')
	}
	return append(append(frame, data...), "\n\n"...)
}

func (s *Server) sendCompletion(e *exchange, frames *fault.Frames, choice completionChoice, usage *completionUsage) error {
	chunk := e.completion("chat.completion.chunk")
	chunk.Choices, chunk.Usage = []completionChoice{choice}, usage
	body, err := encode(chunk)
	if err != nil {
		return err
	}
	return frames.Write(s.dataFrame(body), false)
}
