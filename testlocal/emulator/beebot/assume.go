package beebot

import (
	"errors"
	"time"
)

// Assumptions are the points that no document of the service settles, each with the
// behaviour the emulator chooses when the field is zero. That no heartbeat is sent on a stream
// is settled elsewhere: the fault "comment" sends one before each frame.
type Assumptions struct {
	// TimestampWindow is how far the time of a signature may be off; default 15 minutes (the
	// newer signature pages say 31). Nonces are remembered as long.
	TimestampWindow time.Duration
	// TokenLifetime of stream credentials; default 2 hours, as the SSE stream page says.
	TokenLifetime time.Duration
	// OneToken ends an account's older stream credentials of the same space whenever new ones
	// are applied for; default: several are valid together.
	OneToken bool
	// MaxStreams that one access token may have open at a time; default no limit. More are
	// answered with Throttling.User.
	MaxStreams int
	// RequestsPerSecond of one access key on the gateway; default no limit. More are answered
	// with Throttling.User and the header x-ratelimit-user.
	RequestsPerSecond int

	// StrictStream answers bad stream credentials with HTTP 403 and an HTML page, and enforces
	// the freshness of the stream signature; default: HTTP 200 and one frame success:false.
	StrictStream bool
	// SignFreshness is how old the timestamp of a stream signature may be. Default: not
	// enforced, 2 hours when StrictStream is set.
	SignFreshness time.Duration
	// The codes of refused stream requests. Defaults: InvalidAccessToken,
	// SignatureDoesNotMatch, AccessTokenExpired, DuplicateMessage.
	CodeBadToken, CodeBadSign, CodeExpiredToken, CodeDuplicate string
	// CodeUnknownBot is the code for an unknown robot; default InvalidInstanceId.NotFound with
	// HTTP 404. Any other code, such as InvalidParameter, goes with HTTP 400.
	CodeUnknownBot string
	// CodeSpace is the code for a space or a robot that the caller may not use; default
	// Forbidden (HTTP 403).
	CodeSpace string

	// SessionLifetime is how long a conversation is remembered after its last turn; default 24
	// hours. An id that is over or unknown begins afresh under the same id.
	SessionLifetime time.Duration
	// NoReplay treats a repeated messageId as a new message; default: a finished message is
	// replayed frame by frame, one still running is refused with CodeDuplicate.
	NoReplay bool
	// MaxUtterance is the longest utterance in code points; default 128, as the TongyiBeebotChat
	// page says for the stream. The page of Chat names no limit; it is held to the same.
	MaxUtterance int
	// CutUtterance cuts a longer utterance; default: InvalidParameter.
	CutUtterance bool

	// Empty is how many frames without text follow the opening frame of a model's answer;
	// default 4, -1 for none.
	Empty int
	// SnapshotRunes is by how many characters the snapshots of a model's answer grow; default 12.
	SnapshotRunes int
	// Repeats is how often the whole text is sent again before the stream ends, the last one
	// with StreamEnd:true; default 2, at least 1.
	Repeats int
	// BareAnswers sends what no model wrote without the opening frame; default: opening frame,
	// then one frame with StreamEnd:true.
	BareAnswers bool
	// FeedbackForAny takes feedback on ids that no answer has; default: InvalidParameter.
	FeedbackForAny bool
	// ListsInUTC reads and writes the times of ListTongyiChatHistorys and
	// ListTongyiConversationLogs in UTC; default: in China's time.
	ListsInUTC bool
	// FullEnvelope gives every answer of Chat RequestId and Success; default: where the examples
	// of the conversation API page have them (no RequestId for a hand-over, Success for a
	// hand-over and for clarifications of the dialogue factory).
	FullEnvelope bool
}

func (a Assumptions) withDefaults() Assumptions {
	setDuration(&a.TimestampWindow, 15*time.Minute)
	setDuration(&a.TokenLifetime, 2*time.Hour)
	setDuration(&a.SessionLifetime, 24*time.Hour)
	if a.StrictStream {
		setDuration(&a.SignFreshness, 2*time.Hour)
	}
	setText(&a.CodeBadToken, "InvalidAccessToken")
	setText(&a.CodeBadSign, "SignatureDoesNotMatch")
	setText(&a.CodeExpiredToken, "AccessTokenExpired")
	setText(&a.CodeDuplicate, "DuplicateMessage")
	setText(&a.CodeUnknownBot, codeUnknownBot)
	setText(&a.CodeSpace, codeForbidden)
	setCount(&a.MaxUtterance, 128)
	setCount(&a.Empty, 4)
	setCount(&a.SnapshotRunes, 12)
	setCount(&a.Repeats, 2)
	return a
}

func (a Assumptions) validate() error {
	var faults []error
	if a.TimestampWindow < 0 || a.TokenLifetime < 0 || a.SessionLifetime < 0 || a.SignFreshness < 0 {
		faults = append(faults, errors.New("assumptions: a duration is negative"))
	}
	if a.SnapshotRunes < 1 || a.Repeats < 1 || a.Empty < -1 {
		faults = append(faults, errors.New("assumptions: snapshotRunes and repeats must be at least 1, empty at least -1"))
	}
	if a.MaxUtterance < 1 || a.MaxStreams < 0 || a.RequestsPerSecond < 0 {
		faults = append(faults, errors.New("assumptions: a limit is negative"))
	}
	return errors.Join(faults...)
}

func setDuration(field *time.Duration, value time.Duration) {
	if *field == 0 {
		*field = value
	}
}

func setText(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

func setCount(field *int, value int) {
	if *field == 0 {
		*field = value
	}
}
