package jobs

import (
	"path"
	"slices"
	"time"
)

// State of an export.
type State string

// The states of an export. The last four are ends.
const (
	StateQueued    State = "queued"
	StateRunning   State = "running"
	StateDone      State = "done"
	StatePartial   State = "partial"
	StateFailed    State = "failed"
	StateCancelled State = "cancelled"
)

// Ended reports whether nothing more will happen.
func (s State) Ended() bool {
	return slices.Contains([]State{StateDone, StatePartial, StateFailed, StateCancelled}, s)
}

// Export is the state of an export: the answer of GET /v1/exports/{id}.
type Export struct {
	ID       string     `json:"id"`
	Name     string     `json:"name"`
	State    State      `json:"state"`
	Spec     ExportSpec `json:"spec"`
	Progress Progress   `json:"progress"`
	// Range that is read, once it is known: of a spec with a watermark when it is planned.
	Range *Range `json:"range,omitempty"`
	// Plan names where the list of windows is kept, in [BucketPlans], of a spec that does not
	// say it by itself.
	Plan string `json:"plan,omitempty"`
	// Previous is the value of the watermark that this run goes on from.
	Previous *Mark `json:"previous,omitempty"`
	// Manifest is the path of the manifest below the exports' root, once there is one.
	Manifest string `json:"manifest,omitempty"`
	// Error says why the export failed or is partial.
	Error *string `json:"error"`
	// Round counts the times that the export was started: 1, and one more for each resume.
	Round     int       `json:"round"`
	CreatedAt time.Time `json:"createdAt"`
	// CancelledAt is when somebody asked to end the export early. It is ended, and its
	// manifest written, by the worker that runs it.
	CancelledAt *time.Time `json:"cancelledAt,omitempty"`
	FinishedAt  *time.Time `json:"finishedAt,omitempty"`
}

// Folder that the export's files are in, below the exports' root.
func (e Export) Folder() string { return path.Join(e.Spec.Sink.Path, e.ID) }

// Range of messages' times: [From, To).
type Range struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Live is the claim of an export on its name: as a rule one round of one export is under way
// for a name. It is made before the round's record is written, and given back as the zero
// value by whoever ends that round, if it still is that round's. One whose round has ended
// may be taken over; one whose round has no record yet may be, after [MaxClaim].
type Live struct {
	ExportID string    `json:"exportId"`
	Round    int       `json:"round"`
	Since    time.Time `json:"since"`
}

// MaxClaim is how long a claim holds that no record stands behind: whoever made it has died
// before anybody was told that the export is accepted.
const MaxClaim = time.Minute

// Mark is the value of a [Watermark]: the end of the last complete run, and its manifest,
// to which the manifest of the next one refers.
type Mark struct {
	To       time.Time `json:"to"`
	ExportID string    `json:"exportId"`
	SHA256   string    `json:"sha256"`
}

// Progress of an export.
type Progress struct {
	Windows     int   `json:"windows"`
	WindowsDone int   `json:"windowsDone"`
	Rows        int64 `json:"rows"`
	Bytes       int64 `json:"bytes"`
	Requests    int64 `json:"requests"`
	ThrottledMs int64 `json:"throttledMs"`
	EtaMs       int64 `json:"etaMs"`
}

// Window is the history of one user with one character within a range.
type Window struct {
	ExportID    string    `json:"exportId"`
	Round       int       `json:"round"` // of the export, as in [Export]
	Number      int       `json:"number"`
	CharacterID string    `json:"characterId"`
	UserID      string    `json:"userId"`
	From        time.Time `json:"from"`
	To          time.Time `json:"to"`
	// Folder that the parts go to, below the exports' root.
	Folder string `json:"folder"`
	// The rest is as in [ExportSpec].
	Format      string     `json:"format"`
	Compression string     `json:"compression"`
	Filter      *Filter    `json:"filter,omitempty"`
	Redact      *Redact    `json:"redact,omitempty"`
	Partition   *Partition `json:"partition,omitempty"`
}

// PlanChunk is a piece of the list of windows: pairs of a character and a user.
type PlanChunk struct {
	Pairs [][2]string `json:"pairs"`
}

// WindowResult is how far a [Window] has come, which is noted at the end of each part, and
// in the end what has become of it.
type WindowResult struct {
	Number int `json:"number"`
	// Round of the export that the window was last worked on in.
	Round int `json:"round"`
	// Done tells that all is read and proven.
	Done bool `json:"done,omitempty"`
	// Error says why the window was given up in its round. Its parts stay, and a later round
	// goes on from them.
	Error string `json:"error,omitempty"`
	// Fatal tells that Error concerns the export as a whole, and not this window alone.
	Fatal bool `json:"fatal,omitempty"`
	// Tries counts the failures since the last part.
	Tries       int         `json:"tries,omitempty"`
	Window      WindowCount `json:"window"`
	Parts       []Part      `json:"parts"`
	Ends        []PartEnd   `json:"ends,omitempty"` // of each part
	Requests    int64       `json:"requests"`
	ThrottledMs int64       `json:"throttledMs"`
	Duplicates  int64       `json:"duplicates"`
}

// Ended reports whether nothing more happens to the window in a round.
func (r WindowResult) Ended(round int) bool {
	return r.Done || r.Error != "" && r.Round >= round
}

// PartEnd is where reading goes on after a part: behind the row of which At is the
// gmtCreate, and Last the id if it is not the part's last. The rest counts the window's
// messages up to there.
type PartEnd struct {
	At   int64  `json:"at"`
	Last string `json:"last,omitempty"`
	// Before counts those whose gmtCreate is less than At, left out or not.
	Before     int64            `json:"before"`
	Filtered   int64            `json:"filtered,omitempty"`
	LeftOut    map[string]int64 `json:"leftOut,omitempty"`
	Redacted   map[string]int64 `json:"redacted,omitempty"`
	Duplicates int64            `json:"duplicates,omitempty"`
	// Open tells that a dialogue reaches over the part's end: reading can go on from an
	// earlier one only.
	Open bool `json:"open,omitempty"`
}

// Manifest proves what an export holds.
type Manifest struct {
	Version int    `json:"version"`
	ID      string `json:"id"`
	// Spec without the patterns of its Redact.
	Spec ExportSpec `json:"spec"`
	// Range that was read.
	Range *Range `json:"range,omitempty"`
	// Complete tells that every window was read to its end and proven.
	Complete bool `json:"complete"`
	// Cancelled tells that somebody has ended the export before it was.
	Cancelled         bool  `json:"cancelled,omitempty"`
	Rows              int64 `json:"rows"`
	DuplicatesDropped int64 `json:"duplicatesDropped"`
	// Filtered counts the messages that were left out: by the spec's filter, or as LeftOut
	// says, which counts those of dialogues by the reason.
	Filtered int64            `json:"filtered,omitempty"`
	LeftOut  map[string]int64 `json:"leftOut,omitempty"`
	// Redacted counts what was replaced, by kind or by the pattern's name.
	Redacted map[string]int64 `json:"redacted,omitempty"`
	// Parts are all that there are, those of windows that are not complete included. They are
	// ordered by window, and then as they were written.
	Parts []Part `json:"parts"`
	// Windows are those that are complete.
	Windows []WindowCount `json:"windows"`
	// Failed lists the windows that were given up, with the reason.
	Failed []WindowFailure `json:"failed,omitempty"`
	// Previous is the manifest of the run that this one goes on from, by a watermark.
	Previous *ManifestRef `json:"previous,omitempty"`
}

// ManifestRef names a manifest, and the SHA-256 of its file.
type ManifestRef struct {
	ID     string `json:"id"`
	SHA256 string `json:"sha256"`
}

// Part is one file of an export. First and Last are the messageIds at its ends; Bytes and
// SHA256 are those of the file as it is, compressed or not.
type Part struct {
	Path string `json:"path"`
	// Partition is the value of each thing that the export is partitioned by.
	Partition map[string]string `json:"partition,omitempty"`

	Window int    `json:"window"` // its number
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	First  string `json:"first"`
	Last   string `json:"last"`
	// Lines is how many dialogues there are, of formats that hold them, and Index the file
	// that tells which messages each of them is made of.
	Lines int64      `json:"lines,omitempty"`
	Index *IndexFile `json:"index,omitempty"`
}

// IndexFile stands beside a part of dialogues. Each of its lines is an [IndexLine], and it
// is compressed as the part is.
type IndexFile struct {
	Path   string `json:"path"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// IndexLine tells which messages a line of a part is made of, with the Unix milliseconds of
// each.
type IndexLine struct {
	SessionID   string   `json:"sessionId"`
	CharacterID string   `json:"characterId"`
	UserID      string   `json:"userId"`
	MessageIDs  []string `json:"messageIds"`
	GmtCreate   []int64  `json:"gmtCreate"`
}

// Why messages are not in an export of dialogues.
const (
	LeftRating     = "rating"     // the dialogue does not pass the filter
	LeftCut        = "cut"        // the dialogue reaches over the range, or the message names no session
	LeftLong       = "long"       // the dialogue is longer than can be held
	LeftUnanswered = "unanswered" // nothing of the character follows
	LeftUnprompted = "unprompted" // nothing of the user precedes, or the format has no place for it
	LeftEmpty      = "empty"      // there is no text in it
	LeftType       = "type"       // the type is not known
)

// WindowCount compares what upstream says a window holds, before and after it was read,
// with the rows that were written and those that the filter has left out.
type WindowCount struct {
	Number      int       `json:"number"`
	CharacterID string    `json:"characterId"`
	UserID      string    `json:"userId"`
	From        time.Time `json:"from"`
	To          time.Time `json:"to"`
	TotalBefore int64     `json:"totalBefore"`
	TotalAfter  int64     `json:"totalAfter"`
	Rows        int64     `json:"rows"`
	Filtered    int64     `json:"filtered,omitempty"`
	// LeftOut and Redacted are as in [Manifest].
	LeftOut  map[string]int64 `json:"leftOut,omitempty"`
	Redacted map[string]int64 `json:"redacted,omitempty"`
}

// WindowFailure names a window that could not be read.
type WindowFailure struct {
	Number      int    `json:"number"`
	CharacterID string `json:"characterId"`
	UserID      string `json:"userId"`
	Reason      string `json:"reason"`
}

// Row is one message of an export.
type Row struct {
	MessageID   string   `json:"messageId"`
	ChatID      string   `json:"chatId"`
	SessionID   string   `json:"sessionId"`
	CharacterID string   `json:"characterId"`
	UserID      string   `json:"userId"`
	MessageType string   `json:"messageType"`
	Content     string   `json:"content"`
	Rating      *float64 `json:"rating"`
	// GmtCreate is the message's time in Unix milliseconds, Time the same in RFC 3339.
	GmtCreate int64  `json:"gmtCreate"`
	Time      string `json:"time"`
}
