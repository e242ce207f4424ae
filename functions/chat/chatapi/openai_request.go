package chatapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"unicode/utf8"

	"xinghe/shared/beebot"
	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
)

// completionRequest is the body of POST /v1/chat/completions, as far as it is heeded.
type completionRequest struct {
	Model               string
	Stream              bool
	StreamOptions       streamOptions
	User                string
	Seed                *int64
	Temperature         *float64
	TopP                *float64
	MaxTokens           *int
	MaxCompletionTokens *int
	N                   *int
	Metadata            map[string]string

	// system is what the system messages say, and persona the name that they give.
	system, persona string
	messages        []completionMessage // the conversation, in which speakers alternate
	several         bool                // messages were sent beside those of the system
}

type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
	// IncludeObfuscation is taken and not heeded: it pads chunks, which means nothing to the
	// answer.
	IncludeObfuscation bool `json:"include_obfuscation"`
}

// Keys of the metadata that are heeded. All others are the client's own.
const (
	metaHistory = "use_history"
	metaSession = "session_id"
)

// Limits of the metadata, as OpenAI has them, and of the user's name.
const (
	maxMetadata      = 16
	maxMetadataKey   = 64
	maxMetadataValue = 512
	maxUser          = 256
)

// unheeded are OpenAI's parameters that nothing upstream corresponds to, with the values
// that may be sent all the same, because they ask for nothing.
var unheeded = map[string][]any{
	"audio":              {},
	"frequency_penalty":  {0.0},
	"function_call":      {"none", "auto"},
	"functions":          {[]any{}},
	"logit_bias":         {map[string]any{}},
	"logprobs":           {false},
	"modalities":         {[]any{"text"}},
	"prediction":         {},
	"presence_penalty":   {0.0},
	"reasoning_effort":   {"none"},
	"response_format":    {map[string]any{"type": "text"}},
	"service_tier":       {"auto", "default"},
	"stop":               {[]any{}},
	"store":              {false},
	"tool_choice":        {"none", "auto"},
	"tools":              {[]any{}},
	"top_logprobs":       {0.0},
	"verbosity":          {"medium"},
	"web_search_options": {},
}

// hints are parameters that never change an answer, whatever they hold.
var hints = []string{"parallel_tool_calls", "prompt_cache_key", "prompt_cache_retention", "safety_identifier"}

// faults are what is wrong with a request.
type faults []httpapi.FieldError

func (f *faults) add(field, message string, args ...any) {
	*f = append(*f, httpapi.FieldError{Field: field, Message: fmt.Sprintf(message, args...)})
}

// decode reads a parameter; what does not fit is a fault of the place where it stands. It is as
// if it were not given then, so that nothing else is said of it.
func (f *faults) decode(name string, raw json.RawMessage, into any) {
	err := httpapi.DecodeStrict(raw, into)
	if err == nil {
		return
	}
	reflect.ValueOf(into).Elem().SetZero()
	for _, fault := range httpapi.AsError(err).Fields {
		if fault.Field != "body" {
			fault.Field = name + "." + fault.Field
		} else {
			fault.Field = name
		}
		*f = append(*f, fault)
	}
}

// readCompletion decodes a body and names every fault that can be told without knowing who
// is to answer.
func readCompletion(body []byte) (*completionRequest, error) {
	var fields map[string]json.RawMessage
	if err := httpapi.DecodeLenient(body, &fields); err != nil {
		return nil, err
	}
	// A null asks for the default, as if the parameter were not there.
	maps.DeleteFunc(fields, func(_ string, raw json.RawMessage) bool { return string(raw) == "null" })
	var (
		req      = new(completionRequest)
		messages []json.RawMessage
		metadata map[string]json.RawMessage
		found    faults
	)
	heeded := map[string]any{
		"model": &req.Model, "messages": &messages, "stream": &req.Stream, "stream_options": &req.StreamOptions,
		"user": &req.User, "seed": &req.Seed, "temperature": &req.Temperature, "top_p": &req.TopP, "n": &req.N,
		"max_tokens": &req.MaxTokens, "max_completion_tokens": &req.MaxCompletionTokens, "metadata": &metadata,
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		raw, into := fields[name], heeded[name]
		neutral, known := unheeded[name]
		switch {
		case into != nil:
			found.decode(name, raw, into)
		case known && !isOneOf(raw, neutral):
			found.add(name, "is not supported")
		case !known && !slices.Contains(hints, name):
			found.add(name, "is not a known parameter")
		}
	}
	for _, name := range []string{"messages", "model"} {
		if _, given := fields[name]; !given {
			found.add(name, "missing")
		}
	}
	if _, given := fields["stream_options"]; given && !req.Stream {
		found.add("stream_options", "is for streams only")
	}
	req.check(&found)
	req.readMetadata(metadata, &found)
	if messages != nil {
		req.readMessages(messages, &found)
	}
	return req, httpapi.Invalid(found...)
}

// isOneOf compares a JSON value with others.
func isOneOf(raw json.RawMessage, others []any) bool {
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return false
	}
	return slices.ContainsFunc(others, func(other any) bool { return reflect.DeepEqual(value, other) })
}

// check names the parameters that are out of their range. The ranges are OpenAI's, narrowed
// by those of Xingchen HTTP API, role chat, section "parameters".
func (q *completionRequest) check(found *faults) {
	if q.Temperature != nil && (*q.Temperature < 0 || *q.Temperature > 2) {
		found.add("temperature", "must be between 0 and 2")
	}
	if q.TopP != nil && (*q.TopP <= 0 || *q.TopP > 1) {
		found.add("top_p", "must be greater than 0 and at most 1")
	}
	if q.Seed != nil && *q.Seed < 0 {
		found.add("seed", "must not be negative")
	}
	if q.MaxTokens != nil && *q.MaxTokens < 1 {
		found.add("max_tokens", "must be at least 1")
	}
	switch most := q.MaxCompletionTokens; {
	case most == nil:
	case *most < 1:
		found.add("max_completion_tokens", "must be at least 1")
	case q.MaxTokens != nil && *q.MaxTokens != *most:
		found.add("max_completion_tokens", "contradicts max_tokens")
	}
	switch {
	case q.N == nil || *q.N == 1:
	case *q.N < 1:
		found.add("n", "must be at least 1")
	case q.Stream:
		found.add("n", "must be 1 in a stream")
	}
	if len(q.User) > maxUser {
		found.add("user", "longer than %d bytes", maxUser)
	}
}

// readMetadata decodes the pairs one by one, as each may have a fault of its own.
func (q *completionRequest) readMetadata(pairs map[string]json.RawMessage, found *faults) {
	if len(pairs) > maxMetadata {
		found.add("metadata", "%d pairs, at most %d", len(pairs), maxMetadata)
		return
	}
	q.Metadata = map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		before, value := len(*found), ""
		found.decode("metadata."+key, pairs[key], &value)
		switch {
		case len(*found) > before:
		case utf8.RuneCountInString(key) > maxMetadataKey:
			found.add("metadata", "has a key longer than %d characters", maxMetadataKey)
		case utf8.RuneCountInString(value) > maxMetadataValue:
			found.add("metadata."+key, "longer than %d characters", maxMetadataValue)
		case key == metaHistory && value != "true" && value != "false":
			found.add("metadata."+key, `must be "true" or "false"`)
		default:
			q.Metadata[key] = value
		}
	}
}

// checkFor names every fault that depends on who is to answer.
func (q *completionRequest) checkFor(to partner) error {
	var found faults
	switch to.kind {
	case jobs.BotModel:
		if q.system == "" {
			found.add("messages", "a Xingchen model wants a system message, which describes whom it plays")
		}
	case jobs.BotBeebot:
		q.checkForRobot(&found)
	}
	return httpapi.Invalid(found...)
}

// checkForRobot refuses what steers a model, unless it asks for OpenAI's defaults: robots
// cannot be steered. The limits follow Beebot, TongyiBeebotChat and session API.
func (q *completionRequest) checkForRobot(found *faults) {
	for _, param := range []struct {
		name  string
		given bool
	}{
		{"max_completion_tokens", q.MaxCompletionTokens != nil},
		{"max_tokens", q.MaxTokens != nil},
		{"n", q.N != nil && *q.N != 1},
		{"seed", q.Seed != nil},
		{"temperature", q.Temperature != nil && *q.Temperature != 1},
		{"top_p", q.TopP != nil && *q.TopP != 1},
	} {
		if param.given {
			found.add(param.name, "is not supported by robots")
		}
	}
	if q.system != "" {
		found.add("messages[0].role", "robots take no system message")
	}
	if last := q.last(); utf8.RuneCountInString(last.Content) > beebot.MaxUtterance {
		found.add(last.at+".content", "longer than %d characters, the most that a robot takes", beebot.MaxUtterance)
	}
	if utf8.RuneCountInString(q.Metadata[metaSession]) > beebot.MaxSessionID {
		found.add("metadata."+metaSession, "longer than %d characters", beebot.MaxSessionID)
	}
}
