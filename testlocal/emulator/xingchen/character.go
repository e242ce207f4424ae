package xingchen

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// character is one character of an account, or of the platform if it is preconfigured.
type character struct {
	ID            string  `json:"id"`
	Owner         string  `json:"owner,omitempty"`
	Version       int     `json:"version"`
	Profile       profile `json:"profile"`
	Created       int64   `json:"created"`
	Modified      int64   `json:"modified"`
	PreConfigured bool    `json:"preConfigured,omitempty"`
	Deleted       bool    `json:"deleted,omitempty"`
	// Editions are the other versions; Version and Profile are those of the current one.
	Editions map[int]edition `json:"editions,omitempty"`

	current int // the current version, where this is a view of another; see at
}

// profile is what a caller wrote, field by field, as it was written.
type profile map[string]json.RawMessage

// profileFields are the fields of a character that callers write; others are dropped.
var profileFields = []string{
	"name", "introduction", "basicInformation", "openingLine", "avatar", "traits", "chatExample", "type", "chatObjective",
	"roleTypes", "permConfig", "advancedConfig",
}

// known is the part of a profile that the server itself understands, and what it checks the types of.
type known struct {
	Name             string       `json:"name"`
	Introduction     string       `json:"introduction"`
	BasicInformation string       `json:"basicInformation"`
	OpeningLine      string       `json:"openingLine"`
	Avatar           *avatar      `json:"avatar"`
	Traits           string       `json:"traits"`
	ChatExample      string       `json:"chatExample"`
	Type             string       `json:"type"`
	ChatObjective    string       `json:"chatObjective"`
	RoleTypes        []string     `json:"roleTypes"`
	PermConfig       *permissions `json:"permConfig"`
	AdvancedConfig   advanced     `json:"advancedConfig"`
}

type avatar struct {
	FileURL      string `json:"fileUrl"`
	Filename     string `json:"filename"`
	FileSavePath string `json:"fileSavePath"`
}

type permissions struct {
	IsPublic  *int `json:"isPublic"`
	AllowAPI  *int `json:"allowApi"`
	AllowChat *int `json:"allowChat"`
}

type advanced struct {
	AllowSendImage       bool     `json:"allowSendImage"`
	IsRealInfo           bool     `json:"isRealInfo"`
	SearchKeyword        string   `json:"searchKeyword"`
	ShortTermMemoryRound int      `json:"shortTermMemoryRound"`
	PlatformPlugins      []plugin `json:"platformPlugins"`
	KnowledgeBases       []string `json:"knowledgeBases"`
	ModelConfig          *struct {
		MaxLength int `json:"maxLength"`
	} `json:"modelConfig"`
}

type plugin struct {
	Enabled          bool              `json:"enabled"`
	Name             string            `json:"name"`
	RejectConditions []rejectCondition `json:"rejectConditions"`
}

type rejectCondition struct {
	Enabled       bool   `json:"enabled"`
	ConditionType string `json:"conditionType"`
	Keywords      []struct {
		Value string `json:"value"`
	} `json:"keywords"`
	SubRejectCondition *rejectCondition `json:"subRejectCondition"`
}

// readProfile takes the fields of a profile out of a body and checks them. base is what an update builds on.
func (s *Server) readProfile(account string, body []byte, base profile) (profile, known, error) {
	var fields profile
	if err := decode(body, &fields); err != nil {
		return nil, known{}, err
	}
	written := make(profile)
	for name, value := range fields {
		i := slices.IndexFunc(profileFields, func(field string) bool { return strings.EqualFold(field, name) })
		if i >= 0 && string(value) != "null" {
			written[profileFields[i]] = value
		}
	}
	k, err := written.known()
	if err != nil {
		return nil, known{}, err
	}
	if err := s.checkProfile(account, k); err != nil {
		return nil, known{}, err
	}
	if base != nil && !s.cfg.Assume.UpdateClears {
		merged := maps.Clone(base)
		maps.Copy(merged, written)
		written = merged
	}
	return written, k, nil
}

// known decodes a profile; the error names the field that has the wrong type.
func (p profile) known() (known, error) {
	var k known
	text, err := json.Marshal(p)
	if err != nil {
		return k, fmt.Errorf("encode profile: %w", err)
	}
	return k, decode(text, &k)
}

// knowledgeBase is the one that the documents' examples name; it belongs to the first account.
const knowledgeBase = "d89f6dbb32c645688b01e976cf7ec08e"

func (s *Server) checkProfile(account string, k known) error {
	checks := []struct {
		field, value string
		most         int
	}{
		{"name", k.Name, 20},
		{"introduction", k.Introduction, 30},
		{"basicInformation", k.BasicInformation, 0},
		{"openingLine", k.OpeningLine, 0},
	}
	for _, check := range checks {
		if err := checkText(check.field, strings.TrimSpace(check.value), 1, check.most); err != nil {
			return err
		}
	}
	if k.Type != "" && k.Type != "virtual" && k.Type != "reproduction" {
		return errParam.naming("type must be virtual or reproduction")
	}
	for _, id := range k.AdvancedConfig.KnowledgeBases {
		if id != knowledgeBase || account != s.accounts[s.cfg.Keys[0]] {
			return errPermission.naming("knowledge base %s is not the caller's", id)
		}
	}
	if k.AdvancedConfig.ShortTermMemoryRound < 0 {
		return errParam.naming("advancedConfig.shortTermMemoryRound must not be negative")
	}
	return k.PermConfig.check()
}

func (p *permissions) check() error {
	if p == nil {
		return nil
	}
	for field, value := range map[string]*int{"isPublic": p.IsPublic, "allowApi": p.AllowAPI, "allowChat": p.AllowChat} {
		if value == nil || *value != 0 && *value != 1 {
			return errParam.naming("permConfig.%s must be 0 or 1", field)
		}
	}
	return nil
}

func (c *character) allows(permission func(*permissions) *int) bool {
	k, err := c.Profile.known()
	if err != nil || k.PermConfig == nil {
		return false
	}
	value := permission(k.PermConfig)
	return value != nil && *value == 1
}

func isPublic(p *permissions) *int { return p.IsPublic }
func allowAPI(p *permissions) *int { return p.AllowAPI }

// find returns a character that exists. The caller holds the lock.
func (s *Server) find(id string) (*character, error) {
	if found, known := s.state.characters[id]; known && !found.Deleted {
		return found, nil
	}
	if found := s.formula.character(id); found != nil {
		return found, nil
	}
	return nil, errNotFound.naming("character %s", id)
}

// owned returns a character that the account may change. The caller holds the lock.
func (s *Server) owned(account, id string) (*character, error) {
	found, err := s.find(id)
	if err != nil {
		return nil, err
	}
	if found.Owner != account || found.PreConfigured {
		return nil, errPermission
	}
	return found, nil
}

// callable returns a character that the account may chat with by API. The caller holds the lock.
func (s *Server) callable(account, id string) (*character, error) {
	found, err := s.find(id)
	if err != nil {
		return nil, err
	}
	if found.Owner != account && !found.PreConfigured && !found.allows(allowAPI) {
		return nil, errPermission
	}
	return found, nil
}

// object is the character as details and search show it.
func (s *Server) object(c *character, viewer string) map[string]any {
	object := make(map[string]any, len(c.Profile)+10)
	for name, value := range c.Profile {
		object[name] = value
	}
	object["characterId"] = c.ID
	object["version"] = c.Version
	object["majorVersion"] = c.major()
	object["versions"] = c.versions()
	object["gmtCreate"] = c.Created
	object["gmtModified"] = c.Modified
	object["isPreConfigured"] = c.PreConfigured
	object["manageable"] = c.Owner == viewer && !c.PreConfigured
	if c.Owner != "" {
		object["userId"], object["creator"], object["modifiedBy"] = c.Owner, c.Owner, c.Owner
	}
	if s.cfg.Assume.AuditStatus != "" {
		object["auditStatus"] = s.cfg.Assume.AuditStatus
	}
	return object
}
