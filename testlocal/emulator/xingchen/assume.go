package xingchen

import "time"

// Assumptions are the switches for what the documents do not say. The zero value is the assumption that the project makes
// everywhere; a field set otherwise shows how a client bears the other reading.
type Assumptions struct {
	// Strict refuses a stream service name without an SSE header and the reverse, instead of reading either as a wish
	// for a stream.
	Strict bool
	// StatusFollowsCode answers errors 401 to 414 with that HTTP status instead of 400.
	StatusFollowsCode bool
	// ErrorDialect is "both" (default), "service" (code, errorMessageKey) or "gateway" (errorCode, errorName).
	ErrorDialect string
	// ThrottleKey is the errorMessageKey of 429. Default: aca.error.throttling.
	ThrottleKey string
	// SystemKey is the errorMessageKey of 5xx. Default: aca.error.system.
	SystemKey string
	// ParallelKey is the errorMessageKey of a second conversation of one user. Default: aca.error.chat.parallel.
	ParallelKey string
	// ParallelStatus is the HTTP status of a second conversation of one user. Default: 400.
	ParallelStatus int
	// ParallelAllowed lets a user hold several conversations at once.
	ParallelAllowed bool
	// RequestsPerSecond is the quota of a key; 0 is none.
	RequestsPerSecond int

	// SpaceAfterData writes "data: {" instead of "data:{".
	SpaceAfterData bool
	// EventLines writes "event:success" and "event:stop" lines before the data of ordinary frames.
	EventLines bool
	// StreamContentType is the media type of a stream. Default: text/event-stream;charset=UTF-8.
	StreamContentType string
	// Heartbeat sends an SSE comment before every frame.
	Heartbeat bool
	// EmptyClosingFrame ends an incremental stream with a frame of its own that has no text.
	EmptyClosingFrame bool
	// IncrementalByDefault streams increments unless incrementalOutput says otherwise.
	IncrementalByDefault bool
	// UsageEverywhere sends usage with every frame instead of only the last.
	UsageEverywhere bool
	// PlainContext answers platform characters with the fields of the documents' example only, without the newer ones.
	PlainContext bool
	// MaxLength is the longest answer in tokens (here: runes) unless the request says otherwise; negative is no limit.
	// Default: 100.
	MaxLength int

	// HistoryUnused stores nothing of a platform chat that has useChatHistory:false.
	HistoryUnused bool
	// StoreAllMessages stores every message of a request, instead of the last question only.
	StoreAllMessages bool
	// NoOpeningLine keeps the opening line out of the history of a new room.
	NoOpeningLine bool
	// SessionIdle begins a new session after so long a silence; 0 keeps one session until a reset.
	SessionIdle time.Duration
	// ReminderType is the messageType of a reminder. Default: sys_greetings.
	ReminderType string
	// ResetDeletes lets a reset delete the rows of the history too, instead of only forgetting them in chat.
	ResetDeletes bool
	// RatingFromZero refuses the rating -1.
	RatingFromZero bool

	// UpdateClears lets an update clear the optional fields that it does not name, instead of keeping them.
	UpdateClears bool
	// AuditStatus stands in characters as auditStatus; empty leaves the field out.
	AuditStatus string
	// FirstVersion is the version of a new character. Default: 1.
	FirstVersion int
	// VersionStaysBehind keeps the current version as it is when another one is made, which then answers only those who
	// name it. Default: the new one becomes the current one.
	VersionStaysBehind bool

	// ImageDelay is how long a picture takes. Default: 2 s; negative is no time at all.
	ImageDelay time.Duration
	// ImageLifetime is how long the address of a finished picture works. Default: 1 h.
	ImageLifetime time.Duration
	// ImageRunning, ImageSuccess and ImageFailed are the words of status. Defaults: running, success, failed.
	ImageRunning string
	ImageSuccess string
	ImageFailed  string
	// ImageForEveryAnswer starts a picture with each answer, instead of with those that were asked for one.
	ImageForEveryAnswer bool
	// BlockedWords are refused by the content check when a request switches that on. Default: 违禁词.
	BlockedWords []string
}

func (a Assumptions) withDefaults() Assumptions {
	setDefault(&a.ErrorDialect, "both")
	setDefault(&a.ThrottleKey, "aca.error.throttling")
	setDefault(&a.SystemKey, "aca.error.system")
	setDefault(&a.ParallelKey, "aca.error.chat.parallel")
	setDefault(&a.ParallelStatus, 400)
	setDefault(&a.StreamContentType, "text/event-stream;charset=UTF-8")
	setDefault(&a.MaxLength, 100)
	setDefault(&a.ReminderType, typeReminder)
	setDefault(&a.FirstVersion, 1)
	setDefault(&a.ImageDelay, 2*time.Second)
	setDefault(&a.ImageLifetime, time.Hour)
	setDefault(&a.ImageRunning, "running")
	setDefault(&a.ImageSuccess, "success")
	setDefault(&a.ImageFailed, "failed")
	if a.BlockedWords == nil {
		a.BlockedWords = []string{"违禁词"}
	}
	return a
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
