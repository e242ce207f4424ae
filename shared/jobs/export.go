package jobs

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ExportSpec says what to export and where to. The same JSON is the body of
// POST /v1/exports, the payload of a Function Compute timer and the input of a Lambda
// schedule.
type ExportSpec struct {
	// Name groups the runs of one export, and is the first folder of its files.
	Name string `json:"name"`
	// Characters are the ids of the characters whose histories are read.
	Characters []string `json:"characters"`
	// Users are the ids of the users whose messages are read.
	Users []string `json:"users"`
	// From and To bound the messages' time: [From, To), to the millisecond.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Format of the rows; "jsonl" by default.
	Format string `json:"format"`
	// Compression of the parts; "none" by default.
	Compression string `json:"compression"`
	// Sink is where the files go; by default a folder of the export's name.
	Sink Sink `json:"sink"`
}

// Sink is where an export's files go.
type Sink struct {
	// Type is "folder".
	Type string `json:"type"`
	// Path below the exports' root; the export's name by default.
	Path string `json:"path"`
}

// Limits of an [ExportSpec].
const (
	MaxExportName       = 64
	MaxExportCharacters = 1_000
	MaxExportUsers      = 100_000
	MaxExportWindows    = 1_000_000
)

// Fault names a field of a job and what is wrong with it.
type Fault struct{ Field, Message string }

// WithDefaults fills in what may be left out.
func (s ExportSpec) WithDefaults() ExportSpec {
	if s.Format == "" {
		s.Format = "jsonl"
	}
	if s.Compression == "" {
		s.Compression = "none"
	}
	if s.Sink.Type == "" {
		s.Sink.Type = "folder"
	}
	if s.Sink.Path == "" {
		s.Sink.Path = s.Name
	}
	return s
}

// Check returns every fault of a spec that has its defaults.
func (s ExportSpec) Check() []Fault {
	var faults []Fault
	fault := func(field, message string, args ...any) {
		faults = append(faults, Fault{field, fmt.Sprintf(message, args...)})
	}
	switch {
	case s.Name == "":
		fault("name", "missing")
	case len(s.Name) > MaxExportName:
		fault("name", "longer than %d bytes", MaxExportName)
	case strings.ContainsFunc(s.Name, notInName):
		fault("name", "only letters, digits, '-', '_' and '.' may stand in it")
	case strings.HasPrefix(s.Name, "."):
		fault("name", "starts with a dot")
	}
	checkIDs("characters", s.Characters, MaxExportCharacters, "my", fault)
	checkIDs("users", s.Users, MaxExportUsers, "directory", fault)
	if len(s.Characters)*len(s.Users) > MaxExportWindows {
		fault("users", "%d characters × %d users are more than %d histories", len(s.Characters), len(s.Users), MaxExportWindows)
	}
	switch {
	case s.From.IsZero():
		fault("from", "missing")
	case s.To.IsZero():
		fault("to", "missing")
	case !s.From.Before(s.To):
		fault("to", "not after from")
	}
	if s.Format != "jsonl" {
		fault("format", "%q is not supported; use \"jsonl\"", s.Format)
	}
	if s.Compression != "none" {
		fault("compression", "%q is not supported; use \"none\"", s.Compression)
	}
	if s.Sink.Type != "folder" {
		fault("sink.type", "%q is not supported; use \"folder\"", s.Sink.Type)
	}
	if !filepath.IsLocal(s.Sink.Path) || strings.ContainsAny(s.Sink.Path, "\\\x00") {
		fault("sink.path", "must be a relative path that stays below the exports' root")
	}
	return faults
}

func notInName(c rune) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	return !strings.ContainsRune(allowed, c)
}

// checkIDs checks a list of ids; keyword is the word that stands for all of them, which is
// not built yet.
func checkIDs(field string, ids []string, limit int, keyword string, fault func(string, string, ...any)) {
	if len(ids) == 0 {
		fault(field, "missing: at least one id")
	}
	if len(ids) > limit {
		fault(field, "%d ids, at most %d", len(ids), limit)
	}
	seen := make(map[string]bool, len(ids))
	for i, id := range ids {
		switch {
		case id == "" || len(id) > 256:
			fault(fmt.Sprintf("%s[%d]", field, i), "an id has 1 to 256 bytes")
		case id == keyword:
			fault(fmt.Sprintf("%s[%d]", field, i), "%q is not supported; list the ids", keyword)
		case seen[id]:
			fault(fmt.Sprintf("%s[%d]", field, i), "%q stands in the list twice", id)
		}
		seen[id] = true
	}
}

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
	// Manifest is the path of the manifest below the exports' root, once there is one.
	Manifest string `json:"manifest,omitempty"`
	// Error says why the export failed or is partial.
	Error      *string    `json:"error"`
	CreatedAt  time.Time  `json:"createdAt"`
	FinishedAt *time.Time `json:"finishedAt,omitempty"`
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
	Number      int       `json:"number"`
	CharacterID string    `json:"characterId"`
	UserID      string    `json:"userId"`
	From        time.Time `json:"from"`
	To          time.Time `json:"to"`
	// Folder that the parts go to, below the exports' root.
	Folder string `json:"folder"`
}

// WindowResult is what has become of a [Window].
type WindowResult struct {
	Number int `json:"number"`
	// Error says why the window was given up; then the rest is empty.
	Error       string      `json:"error,omitempty"`
	Window      WindowCount `json:"window"`
	Parts       []Part      `json:"parts"`
	Requests    int64       `json:"requests"`
	ThrottledMs int64       `json:"throttledMs"`
	Duplicates  int64       `json:"duplicates"`
}

// Manifest proves what an export holds.
type Manifest struct {
	Version           int           `json:"version"`
	ID                string        `json:"id"`
	Spec              ExportSpec    `json:"spec"`
	Complete          bool          `json:"complete"`
	Rows              int64         `json:"rows"`
	DuplicatesDropped int64         `json:"duplicatesDropped"`
	Parts             []Part        `json:"parts"`
	Windows           []WindowCount `json:"windows"`
	// Failed lists the windows that are missing, with the reason.
	Failed []WindowFailure `json:"failed,omitempty"`
}

// Part is one file of an export. First and Last are the messageIds at its ends.
type Part struct {
	Path   string `json:"path"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	First  string `json:"first"`
	Last   string `json:"last"`
}

// WindowCount compares what upstream says a window holds, before and after it was read,
// with the rows that were written.
type WindowCount struct {
	CharacterID string    `json:"characterId"`
	UserID      string    `json:"userId"`
	From        time.Time `json:"from"`
	To          time.Time `json:"to"`
	TotalBefore int64     `json:"totalBefore"`
	TotalAfter  int64     `json:"totalAfter"`
	Rows        int64     `json:"rows"`
}

// WindowFailure names a window that could not be read.
type WindowFailure struct {
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
