package xingchen

import (
	"cmp"
	"strings"
)

// Persona is who answers.
type Persona struct {
	// CharacterID is empty for a custom character.
	CharacterID string
	Name        string
	// Introduction, Basic and Traits are what its author wrote about it.
	Introduction, Basic, Traits string
	OpeningLine                 string
	// Examples are lines of its example dialogue.
	Examples []Example

	script       []scriptLine
	rejects      []rejectCondition
	sendsImages  bool
	maxLength    int
	memoryRounds int
	model        string
}

// Example is one question of an example dialogue and what the character says to it.
type Example struct{ User, Character string }

// persona finds who answers a request. The caller holds the lock.
func (s *Server) persona(c *call, a *aca) (Persona, error) {
	bot := a.BotProfile
	if bot.CharacterID == "" {
		return s.customPersona(a)
	}
	found, err := s.callable(c.account, bot.CharacterID)
	if err != nil {
		return Persona{}, err
	}
	if found, err = found.at(bot.Version); err != nil {
		return Persona{}, err
	}
	k, err := found.Profile.known()
	if err != nil {
		return Persona{}, err
	}
	p := Persona{
		CharacterID: found.ID, Name: k.Name, Introduction: k.Introduction, Basic: k.BasicInformation,
		Traits: k.Traits, OpeningLine: k.OpeningLine, Examples: readExamples(k.ChatExample),
		script: s.scripts[found.ID].Lines, memoryRounds: k.AdvancedConfig.ShortTermMemoryRound,
		sendsImages: k.AdvancedConfig.AllowSendImage,
	}
	if k.AdvancedConfig.ModelConfig != nil {
		p.maxLength = k.AdvancedConfig.ModelConfig.MaxLength
	}
	for _, plugin := range k.AdvancedConfig.PlatformPlugins {
		if !plugin.Enabled {
			continue
		}
		p.sendsImages = p.sendsImages || plugin.Name == "text_to_image_plugin"
		if plugin.Name == "reject_answer_plugin" {
			p.rejects = append(p.rejects, plugin.RejectConditions...)
		}
	}
	if bot.EnableOpenLine != nil && !*bot.EnableOpenLine {
		p.OpeningLine = ""
	}
	return p, nil
}

func (s *Server) customPersona(a *aca) (Persona, error) {
	bot := a.BotProfile
	p := Persona{Name: bot.Name, Basic: bot.Content, Traits: bot.Traits}
	for i := 0; i+1 < len(a.SampleMessages); i += 2 {
		p.Examples = append(p.Examples, Example{User: a.SampleMessages[i].Content, Character: a.SampleMessages[i+1].Content})
	}
	if bot.CustomTemplateID == "" {
		return p, nil
	}
	template, known := s.scripts[bot.CustomTemplateID]
	if !known || !template.Template {
		return p, errNotFound.naming("template %s", bot.CustomTemplateID)
	}
	fill := func(text string) string {
		for name, value := range bot.Params {
			text = strings.ReplaceAll(text, "{{"+name+"}}", value)
		}
		return text
	}
	p.Basic = cmp.Or(p.Basic, fill(template.Content))
	if bot.EnableOpenLine != nil && *bot.EnableOpenLine {
		p.OpeningLine = fill(template.OpeningLine)
	}
	for _, line := range template.Lines {
		line.Say = fill(line.Say)
		p.script = append(p.script, line)
	}
	return p, nil
}

// readExamples reads lines "{{user}}:" and "{{char}}:" with either colon.
func readExamples(text string) []Example {
	var examples []Example
	question := ""
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if said, ok := speaker(line, "{{user}}"); ok {
			question = said
			continue
		}
		if said, ok := speaker(line, "{{char}}"); ok {
			examples = append(examples, Example{User: question, Character: said})
			question = ""
		}
	}
	return examples
}

func speaker(line, who string) (string, bool) {
	rest, ok := strings.CutPrefix(line, who)
	if !ok {
		return "", false
	}
	rest = strings.TrimSpace(rest)
	for _, colon := range []string{":", "\uff1a"} {
		if said, ok := strings.CutPrefix(rest, colon); ok {
			return strings.TrimSpace(said), true
		}
	}
	return rest, true
}
