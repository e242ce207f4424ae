package xingchen

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// describeRequest is the body of character/auto/desc.
type describeRequest struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	FileURL  string `json:"fileUrl"`
	FileName string `json:"fileName"`
}

// maxDescription is how many characters of a text a description takes over.
const maxDescription = 200

// describe answers character/auto/desc: a description of a character from a text, or from a file, of which only the name
// is looked at. It is made of the text's first sentences, not by a model.
func (s *Server) describe(c *call) (any, error) {
	var req describeRequest
	if err := decode(c.body, &req); err != nil {
		return nil, err
	}
	source := strings.Join(strings.Fields(req.Text), " ")
	if req.Type == "file" {
		if req.FileURL == "" || req.FileName == "" {
			return nil, errParam.naming("fileUrl and fileName must not be empty for type file")
		}
		source = strings.TrimSuffix(path.Base(req.FileName), path.Ext(req.FileName))
	}
	if source == "" {
		return nil, errParam.naming("text must not be empty")
	}
	content := "角色简介:" + clip(source, maxDescription)
	return struct {
		Content string `json:"content"`
		derived
	}{content, s.derived(c, source, content)}, nil
}

// derived is what goes with all that is made from a text or a conversation.
type derived struct {
	Usage   usage       `json:"usage"`
	Context chatContext `json:"context"`
}

// derived counts a token a character.
func (s *Server) derived(c *call, input, output string) derived {
	n := utf8.RuneCountInString(input)
	return derived{
		Usage:   usage{InputTokens: n, OutputTokens: utf8.RuneCountInString(output), UserTokens: n, PluginTokens: new(int)},
		Context: chatContext{RequestID: c.requestID, ModelRequestID: s.ids.uuid(), ModelName: defaultModel},
	}
}

type memory struct {
	Content string `json:"content"`
}

// schema is what is known of one side of a conversation.
type schema struct {
	Role  string   `json:"role"`
	Key   string   `json:"key"`
	Value []string `json:"value"`
}

func clip(text string, most int) string {
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most-1]) + "…"
}

// extractRequest is the body of extract/summary and extract/kv.
type extractRequest struct {
	Messages        []turn `json:"messages"`
	KvMemoryConfigs []struct {
		Enabled    *bool  `json:"enabled"`
		MemoryText string `json:"memoryText"`
	} `json:"kvMemoryConfigs"`
}

func (s *Server) readExtract(c *call) (extractRequest, error) {
	var req extractRequest
	if err := decode(c.body, &req); err != nil {
		return req, err
	}
	if len(req.Messages) == 0 {
		return req, errParam.naming("messages must not be empty")
	}
	for i, message := range req.Messages {
		if message.Role != "user" && message.Role != "assistant" && message.Role != "system" {
			return req, errParam.naming("messages[%d].role must be system, user or assistant", i)
		}
	}
	return req, nil
}

func (r extractRequest) text() string {
	var all strings.Builder
	for _, message := range r.Messages {
		all.WriteString(message.Content)
	}
	return all.String()
}

// maxSummary is how many characters of a message a summary takes over.
const maxSummary = 40

// summarise answers extract/summary: one line for each side, of what it said first and last.
func (s *Server) summarise(c *call) (any, error) {
	req, err := s.readExtract(c)
	if err != nil {
		return nil, err
	}
	results := []memory{}
	var all strings.Builder
	note := func(format string, args ...any) {
		results = append(results, memory{fmt.Sprintf(format, args...)})
		all.WriteString(results[len(results)-1].Content)
	}
	for _, side := range []struct{ role, label string }{{"user", "用户"}, {"assistant", "角色"}} {
		var said []string
		for _, message := range req.Messages {
			if message.Role == side.role && strings.TrimSpace(message.Content) != "" {
				said = append(said, clip(strings.TrimSpace(message.Content), maxSummary))
			}
		}
		switch len(said) {
		case 0:
		case 1:
			note("%s说:%s", side.label, said[0])
		default:
			note("%s先说:%s 后来说:%s", side.label, said[0], said[len(said)-1])
		}
	}
	return struct {
		MemoryResults []memory `json:"memoryResults"`
		derived
	}{results, s.derived(c, req.text(), all.String())}, nil
}

// A value stands behind its name and one of these, and ends with the clause.
const valueOf = `(?:是|叫|:|\x{ff1a})\s*([^\s,\x{ff0c}。.!?;\x{ff01}\x{ff1f}\x{ff1b}]{1,20})`

// ownValue finds "我的爱好是画画".
var ownValue = regexp.MustCompile(`我的([\p{Han}A-Za-z]{1,8}?)` + valueOf)

// extract answers extract/kv: what each side told of itself under the names that kvMemoryConfigs asks for, or under any
// that stand behind 我的 if it asks for none. 姓名 and 名字 are also found in 我叫….
func (s *Server) extract(c *call) (any, error) {
	req, err := s.readExtract(c)
	if err != nil {
		return nil, err
	}
	var wanted []string
	for _, config := range req.KvMemoryConfigs {
		if text := strings.TrimSpace(config.MemoryText); text != "" && (config.Enabled == nil || *config.Enabled) {
			wanted = append(wanted, text)
		}
	}
	known := []schema{}
	for _, message := range req.Messages {
		for _, found := range told(message.Content, wanted, len(req.KvMemoryConfigs) == 0) {
			known = learn(known, message.Role, found[0], found[1])
		}
	}
	var all strings.Builder
	for _, found := range known {
		all.WriteString(found.Key + strings.Join(found.Value, ""))
	}
	return struct {
		Schemas []schema `json:"schemas"`
		derived
	}{known, s.derived(c, req.text(), all.String())}, nil
}

// told are the names and values of a message.
func told(text string, wanted []string, anything bool) (found [][2]string) {
	if anything {
		for _, match := range ownValue.FindAllStringSubmatch(text, -1) {
			found = append(found, [2]string{match[1], match[2]})
		}
	}
	for _, key := range wanted {
		pattern := saidName
		if key != "姓名" && key != "名字" || !pattern.MatchString(text) {
			pattern = regexp.MustCompile(regexp.QuoteMeta(key) + valueOf)
		}
		for _, match := range pattern.FindAllStringSubmatch(text, -1) {
			found = append(found, [2]string{key, match[1]})
		}
	}
	return found
}

// learn adds a value, once.
func learn(known []schema, role, key, value string) []schema {
	at := slices.IndexFunc(known, func(k schema) bool { return k.Role == role && k.Key == key })
	if at < 0 {
		return append(known, schema{Role: role, Key: key, Value: []string{value}})
	}
	if !slices.Contains(known[at].Value, value) {
		known[at].Value = append(known[at].Value, value)
	}
	return known
}
