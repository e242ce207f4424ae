package xingchen

import (
	"context"
	"net/url"
	"strconv"
)

// CharacterSpec is what a character is made of. Name (1 to 20 characters), Introduction (1
// to 30), BasicInformation and OpeningLine are required. It follows Xingchen HTTP API,
// character management.
type CharacterSpec struct {
	Name             string   `json:"name"`
	Avatar           *File    `json:"avatar,omitempty"`
	Introduction     string   `json:"introduction"`
	BasicInformation string   `json:"basicInformation"`
	OpeningLine      string   `json:"openingLine"`
	Traits           string   `json:"traits,omitempty"`
	ChatExample      string   `json:"chatExample,omitempty"`
	Type             string   `json:"type,omitempty"`
	ChatObjective    string   `json:"chatObjective,omitempty"`
	RoleTypes        []string `json:"roleTypes,omitempty"`
	// PermConfig must be whole where it is sent.
	PermConfig     *PermConfig     `json:"permConfig,omitempty"`
	AdvancedConfig *AdvancedConfig `json:"advancedConfig,omitempty"`
}

// File is an uploaded file or an address; FileSavePath is the handle of an upload.
type File struct {
	FileURL      string `json:"fileUrl,omitempty"`
	Filename     string `json:"filename,omitempty"`
	FileSavePath string `json:"fileSavePath,omitempty"`
	Status       string `json:"status,omitempty"`
}

// PermConfig opens a character to others; each value is 0 or 1.
type PermConfig struct {
	IsPublic  int `json:"isPublic"`
	AllowAPI  int `json:"allowApi"`
	AllowChat int `json:"allowChat"`
}

// AdvancedConfig holds search, pictures, speech, memory and plug-ins of a character.
type AdvancedConfig struct {
	IsRealInfo *bool `json:"isRealInfo,omitempty"`
	// SearchKeyword is required for search. RealInfo is its form in version 1 of the API.
	SearchKeyword        string           `json:"searchKeyword,omitempty"`
	RealInfo             string           `json:"realInfo,omitempty"`
	AllowSendImage       *bool            `json:"allowSendImage,omitempty"`
	ImageStyle           string           `json:"imageStyle,omitempty"`
	AllowSendASR         *bool            `json:"allowSendAsr,omitempty"`
	ASRStyle             string           `json:"asrStyle,omitempty"`
	IsRealTime           *bool            `json:"isRealTime,omitempty"`
	ShortTermMemoryRound *int             `json:"shortTermMemoryRound,omitempty"`
	LongTermMemories     []LongTermMemory `json:"longTermMemories,omitempty"`
	PlatformPlugins      []PlatformPlugin `json:"platformPlugins,omitempty"`
	KnowledgeBases       []string         `json:"knowledgeBases,omitempty"`
	ModelConfig          *ModelConfig     `json:"modelConfig,omitempty"`
	RepositoryInfo       *RepositoryInfo  `json:"repositoryInfo,omitempty"`
	ChatDescription      string           `json:"chatDescription,omitempty"`
}

// LongTermMemory is a kind of memory: MemoryType is kv or summary.
type LongTermMemory struct {
	Enabled         bool             `json:"enabled"`
	MemoryType      string           `json:"memoryType"`
	KVMemoryConfigs []KVMemoryConfig `json:"kvMemoryConfigs,omitempty"`
}

// KVMemoryConfig names a property that is worth remembering.
type KVMemoryConfig struct {
	Enabled    bool   `json:"enabled"`
	MemoryText string `json:"memoryText"`
}

// PlatformPlugin is text_to_image_plugin with its styles, or reject_answer_plugin with its
// conditions.
type PlatformPlugin struct {
	Enabled          bool              `json:"enabled"`
	Name             string            `json:"name"`
	ImageStyle       string            `json:"imageStyle,omitempty"`
	PositiveDesc     string            `json:"positiveDesc,omitempty"`
	NegativeDesc     string            `json:"negativeDesc,omitempty"`
	RejectConditions []RejectCondition `json:"rejectConditions,omitempty"`
}

// RejectCondition says what the character does not answer. ConditionType is reject_rule,
// passive_rule or knowledge_domain_rule; the last has a condition below it.
type RejectCondition struct {
	Enabled            bool             `json:"enabled"`
	ConditionType      string           `json:"conditionType"`
	Keywords           []Keyword        `json:"keywords,omitempty"`
	SubRejectCondition *RejectCondition `json:"subRejectCondition,omitempty"`
}

// Keyword is one word of a condition.
type Keyword struct {
	Value string `json:"value"`
}

// ModelConfig steers the character's model.
type ModelConfig struct {
	MaxLength   *int     `json:"maxLength,omitempty"`
	MinLength   *int     `json:"minLength,omitempty"`
	TopP        *float64 `json:"topP,omitempty"`
	Temperature *float64 `json:"temperature,omitempty"`
}

// RepositoryInfo lists the files that a character knows.
type RepositoryInfo struct {
	RepositoryFiles []File `json:"repositoryFiles,omitempty"`
	Status          string `json:"status,omitempty"`
}

// CharacterRef names a character. Version 0 means the current one.
type CharacterRef struct {
	CharacterID string `json:"characterId"`
	Version     int    `json:"version,omitempty"`
}

// CharacterUpdate is a character's new content; the required fields of [CharacterSpec] are
// required again.
type CharacterUpdate struct {
	CharacterRef
	CharacterSpec
}

// Character is a stored character.
type Character struct {
	CharacterRef
	CharacterSpec
	MajorVersion    int      `json:"majorVersion,omitempty"`
	Versions        []int    `json:"versions,omitempty"`
	GmtCreate       Millis   `json:"gmtCreate,omitempty"`
	GmtModified     Millis   `json:"gmtModified,omitempty"`
	UserID          string   `json:"userId,omitempty"`
	Creator         string   `json:"creator,omitempty"`
	ModifiedBy      string   `json:"modifiedBy,omitempty"`
	Tags            []string `json:"tags,omitempty"`
	Bubbles         []string `json:"bubbles,omitempty"`
	BackgroundImage string   `json:"backgroundImgUrl,omitempty"`
	Manageable      bool     `json:"manageable,omitempty"`
	IsPreConfigured bool     `json:"isPreConfigured,omitempty"`
	ExtractMemory   bool     `json:"extractMemory,omitempty"`
	ExtractMoment   bool     `json:"extractMoment,omitempty"`
	// AuditStatus and ConfigStatus have values that are not documented.
	AuditStatus  string `json:"auditStatus,omitempty"`
	ConfigStatus string `json:"configStatus,omitempty"`
}

// CharacterQuery searches characters. PageNum counts from 1, PageSize is 1 to 50, default 10.
type CharacterQuery struct {
	Where CharacterWhere `json:"where"`
	// OrderBy holds "gmtModified desc" and the like, the most important first.
	OrderBy  []string `json:"orderBy,omitempty"`
	PageNum  int      `json:"pageNum,omitempty"`
	PageSize int      `json:"pageSize,omitempty"`
}

// CharacterWhere are conditions that must all hold. Scope is my, public or pre_configured;
// CharacterName is the beginning of the name.
type CharacterWhere struct {
	Scope         string   `json:"scope"`
	RoleTypes     []string `json:"roleTypes,omitempty"`
	CharacterName string   `json:"characterName,omitempty"`
}

// CreateCharacter stores a new character. It follows Xingchen HTTP API, character
// management, section "create".
func (c *Client) CreateCharacter(ctx context.Context, spec CharacterSpec, opts ...CallOption) (CharacterRef, error) {
	return call[CharacterRef](ctx, c, routeCharacterCreate, nil, spec, opts)
}

// UpdateCharacter replaces a character's content. It follows Xingchen HTTP API, character
// management, section "update".
func (c *Client) UpdateCharacter(ctx context.Context, update CharacterUpdate, opts ...CallOption) error {
	return done(call[*bool](ctx, c, routeCharacterUpdate, nil, update, opts))
}

// CharacterDetails reads a character. It follows Xingchen HTTP API, character management,
// section "details".
func (c *Client) CharacterDetails(ctx context.Context, ref CharacterRef, opts ...CallOption) (Character, error) {
	query := url.Values{"characterId": {ref.CharacterID}}
	if ref.Version != 0 {
		query.Set("version", strconv.Itoa(ref.Version))
	}
	return call[Character](ctx, c, routeCharacterDetails, query, nil, opts)
}

// SearchCharacters reads a page of characters. It follows Xingchen HTTP API, character
// management, section "search".
func (c *Client) SearchCharacters(ctx context.Context, query CharacterQuery, opts ...CallOption) (Page[Character], error) {
	return call[Page[Character]](ctx, c, routeCharacterSearch, nil, query, opts)
}

// DeleteCharacter deletes a character, all its versions where none is named. It follows
// Xingchen HTTP API, character management, section "delete".
func (c *Client) DeleteCharacter(ctx context.Context, ref CharacterRef, opts ...CallOption) error {
	return done(call[*bool](ctx, c, routeCharacterDelete, nil, ref, opts))
}
