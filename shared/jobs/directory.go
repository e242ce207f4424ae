package jobs

import (
	"encoding/base64"
	"time"
)

// DirectoryEntry tells that a user has talked to a bot. Upstream has no list of a
// character's users; these entries, gathered from chat events, stand for one. Since events
// are best effort, so is the directory: a user may be missing.
type DirectoryEntry struct {
	// Bot as in [ChatEvent].
	Bot string `json:"bot"`
	// UserID as the caller chose it.
	UserID string `json:"userId"`
	// FirstSeen is the time of the oldest event of the pair that is known.
	FirstSeen time.Time `json:"firstSeen"`
	// LastSeen is the time of the latest, but may be up to [DirectoryEvery] behind.
	LastSeen time.Time `json:"lastSeen"`
}

// DirectoryEvery is how often LastSeen of a pair is written at most.
const DirectoryEvery = time.Hour

// MaxDirectoryID is how many bytes the id of a bot or a user may have to stand in the
// directory; exports take no longer ones.
const MaxDirectoryID = 256

// DirectoryKey is where the directory keeps a pair: "<kind>.<id>.<user>", the last two in
// base64url, since ids are free text and keys are not. ok is false if the pair cannot stand
// in the directory: the bot has no kind, or an id is empty or longer than [MaxDirectoryID].
func DirectoryKey(bot, userID string) (key string, ok bool) {
	prefix, ok := directoryPrefix(bot)
	if !ok || userID == "" || len(userID) > MaxDirectoryID {
		return "", false
	}
	return prefix + encodeKey(userID), true
}

// DirectoryFilter matches the keys of a bot's users.
func DirectoryFilter(bot string) (filter string, ok bool) {
	prefix, ok := directoryPrefix(bot)
	if !ok {
		return "", false
	}
	return prefix + "*", true
}

// DirectoryUserFilter matches the keys of one user, whatever the bot.
func DirectoryUserFilter(userID string) (filter string, ok bool) {
	if userID == "" || len(userID) > MaxDirectoryID {
		return "", false
	}
	return "*.*." + encodeKey(userID), true
}

func directoryPrefix(bot string) (prefix string, ok bool) {
	kind, id, ok := SplitBot(bot)
	if !ok || len(bot) > MaxDirectoryID {
		return "", false
	}
	return kind + "." + encodeKey(id) + ".", true
}

func encodeKey(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
