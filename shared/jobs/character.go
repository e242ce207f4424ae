package jobs

// The types of events of changes to characters. They carry a [CharacterEvent].
const (
	EventCharacterCreated   = "character.created"
	EventCharacterUpdated   = "character.updated"
	EventCharacterDeleted   = "character.deleted"
	EventCharacterVersioned = "character.versioned" // a version was created or updated
)

// SubjectCharacterEvents is the filter for all of them.
const SubjectCharacterEvents = EventPrefix + "character.>"

// CharacterEvent says who changed which character, and nothing of what it says. Its event's
// subject is the bot's name, see [Bot].
//
// Events are best effort: a change is answered whether or not its event gets through.
type CharacterEvent struct {
	// CharacterID is upstream's.
	CharacterID string `json:"characterId"`
	// Version that the call named, or that upstream gave; 0 if there was none.
	Version int64 `json:"version,omitempty"`
	// Key is the name (never the text) of the key of ours that the caller has.
	Key string `json:"key"`
	// RequestID is ours, answered in X-Request-Id. A caller may have chosen it, so it need
	// not be unique.
	RequestID string `json:"requestId"`
	// UpstreamRequestID is what upstream's operators ask for.
	UpstreamRequestID string `json:"upstreamRequestId,omitempty"`
}
