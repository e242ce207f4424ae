package beebot

import "encoding/json"

// commands are wishes that an answer carries beside its text.
type commands map[string]json.RawMessage

// UnmarshalJSON never fails: an unknown form must not cost the answer.
func (c *commands) UnmarshalJSON(data []byte) error {
	var plain map[string]json.RawMessage
	if json.Unmarshal(data, &plain) == nil {
		*c = plain
	}
	return nil
}

// handover reads sysToAgent, a text that holds JSON. Its presence alone asks for a person;
// what of it cannot be read stays empty. It follows Beebot, session API, section on handing
// over.
func (c commands) handover() *Handover {
	raw, ok := c["sysToAgent"]
	if !ok || string(raw) == "null" {
		return nil
	}
	inner := []byte(raw)
	var text string
	if json.Unmarshal(raw, &text) == nil {
		inner = []byte(text)
	}
	var wish struct {
		SkillGroup looseText `json:"skillGroup"`
		Ext        looseText `json:"ext"`
	}
	if json.Unmarshal(inner, &wish) != nil {
		return &Handover{}
	}
	return &Handover{SkillGroup: string(wish.SkillGroup), Ext: string(wish.Ext)}
}
