package jobs

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// SubjectRating is followed by "<job id>.<chunk>" and carries a [RatingTask].
const SubjectRating = SubjectPrefix + "rating."

// BucketRatings keeps all there is about ratings, so that it vanishes, or is restored, as a
// whole: what is newer is told by the bucket's revisions. The kinds of keys:
//
//	job.<id>           a [RatingJob]; its revision is the place of the job among all others
//	rows.<id>.<chunk>  a [RatingChunk], written before the job and never changed
//	done.<id>.<chunk>  a [RatingResult], written by workers only
//	last.<message>     a [RatingLast], written by workers only
const BucketRatings = "xinghe_ratings"

// RatingRetention is how long ratings and what became of them are kept after they were last
// written.
const RatingRetention = 30 * 24 * time.Hour

// The types of the events of ratings. Both carry a [RatingEvent].
const (
	EventRatingApplied = "rating.applied"
	EventRatingFailed  = "rating.failed"
)

// Limits of ratings. The range is that of Xingchen HTTP API, message rating; upstream names
// no limits for texts.
const (
	MinRating        = -1
	MaxRating        = 5
	MaxRatingRows    = 20_000  // of one job
	MaxRatingInfo    = 1_000   // characters
	MaxRatingMessage = 128     // bytes of a messageId
	ratingChunkRows  = 100     // of one task: what is done at once, and told by one event
	ratingChunkBytes = 128_000 // of texts in one chunk; as JSON at most six times as much
	maxRatingReason  = 200     // bytes
	ratingCut        = "…"
)

// RatingRow is one rating of a job.
type RatingRow struct {
	// Row is its place in what was sent, from 0; a header is no row.
	Row       int    `json:"row"`
	MessageID string `json:"messageId"`
	Rating    int    `json:"rating"`
	// Info holds the details of a bad rating.
	Info string `json:"info,omitempty"`
	// SupersededBy is the last row of the same job that rates the same message, if that is
	// another one: then this one is not sent.
	SupersededBy *int `json:"supersededBy,omitempty"`
}

// Check returns every fault of a row.
func (r RatingRow) Check() []Fault {
	var faults faults
	switch {
	case r.MessageID == "":
		faults.add("messageId", "missing")
	case len(r.MessageID) > MaxRatingMessage:
		faults.add("messageId", "longer than %d bytes", MaxRatingMessage)
	case !printable(r.MessageID):
		faults.add("messageId", "holds what cannot be printed")
	}
	if r.Rating < MinRating || r.Rating > MaxRating {
		faults.add("rating", "must be a whole number from %d to %d", MinRating, MaxRating)
	}
	switch {
	case utf8.RuneCountInString(r.Info) > MaxRatingInfo:
		faults.add("info", "longer than %d characters", MaxRatingInfo)
	case !utf8.ValidString(r.Info):
		faults.add("info", "is not UTF-8")
	}
	return faults
}

func printable(text string) bool {
	for _, r := range text {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// RatingJob says that ratings were accepted. It is written last: a chunk whose job does not
// exist was not accepted.
type RatingJob struct {
	ID string `json:"id"`
	// Rows is how many there are, Chunks in how many chunks they stand.
	Rows      int       `json:"rows"`
	Chunks    int       `json:"chunks"`
	CreatedAt time.Time `json:"createdAt"`
}

// RatingChunk is some rows of a job.
type RatingChunk struct {
	Rows []RatingRow `json:"rows"`
}

// RatingTask asks for a chunk to be applied.
type RatingTask struct {
	ID    string `json:"id"`
	Chunk int    `json:"chunk"`
}

// Key is what follows [SubjectRating] and the kinds of keys.
func (t RatingTask) Key() string { return t.ID + "." + strconv.Itoa(t.Chunk) }

// RatingChunks says which rows are superseded by later ones, and divides them, in their
// order.
func RatingChunks(rows []RatingRow) []RatingChunk {
	last := make(map[string]int, len(rows))
	for _, row := range rows {
		last[row.MessageID] = row.Row
	}
	rows = slices.Clone(rows)
	var chunks []RatingChunk
	start, size := 0, 0
	for i := range rows {
		if by := last[rows[i].MessageID]; by != rows[i].Row {
			rows[i].SupersededBy = &by
		}
		bytes := len(rows[i].MessageID) + len(rows[i].Info)
		if i-start == ratingChunkRows || size+bytes > ratingChunkBytes {
			chunks = append(chunks, RatingChunk{Rows: rows[start:i]})
			start, size = i, 0
		}
		size += bytes
	}
	return append(chunks, RatingChunk{Rows: rows[start:]})
}

// The outcomes of a rating. The last three are ends.
const (
	RatingPending    = "pending"
	RatingApplied    = "applied"    // upstream has taken it
	RatingSuperseded = "superseded" // a later one of the same message came first; it was not sent
	RatingFailed     = "failed"     // upstream refuses it, or gave no answer for too long
)

// RatingOutcome is what has become of one rating.
type RatingOutcome struct {
	// Outcome is one of the words above.
	Outcome string `json:"outcome"`
	// By is the later rating of the same message that superseded this one.
	By *RatingRef `json:"by,omitempty"`
	// Reason says why it failed.
	Reason string `json:"reason,omitempty"`
}

// Ended reports whether nothing more will happen.
func (o RatingOutcome) Ended() bool { return o.Outcome != "" && o.Outcome != RatingPending }

// FailedRating is the outcome of a rating that failed; the reason is cut to 200 bytes.
func FailedRating(reason string) RatingOutcome {
	reason = strings.ToValidUTF8(reason, "�")
	if len(reason) > maxRatingReason {
		end := maxRatingReason - len(ratingCut)
		for !utf8.RuneStart(reason[end]) {
			end--
		}
		reason = reason[:end] + ratingCut
	}
	return RatingOutcome{Outcome: RatingFailed, Reason: reason}
}

// RatingRef names one rating: a job and a row in it.
type RatingRef struct {
	ID  string `json:"id"`
	Row int    `json:"row"`
}

// RatingResult is what has become of a chunk: an outcome for each of its rows, in their
// order.
type RatingResult struct {
	Outcomes []RatingOutcome `json:"outcomes"`
}

// Ended reports whether every row has ended.
func (r RatingResult) Ended() bool {
	return !slices.ContainsFunc(r.Outcomes, func(o RatingOutcome) bool { return !o.Ended() })
}

// RatingLast is the latest rating of a message that any worker has turned to.
type RatingLast struct {
	// Order is the place of its job: the revision of the [RatingJob]. What is smaller is
	// superseded.
	Order uint64    `json:"order"`
	By    RatingRef `json:"by"`
	// Holder is the worker that calls upstream, and keeps all others from it as long as there
	// is no Outcome.
	Holder  string         `json:"holder,omitempty"`
	Outcome *RatingOutcome `json:"outcome,omitempty"`
	// Doubt tells that a call of Holder was broken off, and may take effect a little later.
	Doubt bool `json:"doubt,omitempty"`
}

// RatingLastKey is where the [RatingLast] of a message stands.
func RatingLastKey(messageID string) string { return "last." + encodeKey(messageID) }

// MaxRatingFailed is how many failed rows a [RatingState] names.
const MaxRatingFailed = 1_000

// RatingState is the answer of GET /v1/ratings/{id}.
type RatingState struct {
	ID string `json:"id"`
	// State is [StateRunning] or [StateDone].
	State State `json:"state"`
	// Accepted is the sum of the next four.
	Accepted    int `json:"accepted"`
	Pending     int `json:"pending"`
	Applied     int `json:"applied"`
	Superseded  int `json:"superseded"`
	FailedCount int `json:"failedCount"`
	// Failed names the first rows that failed, up to [MaxRatingFailed].
	Failed    []RatingFailure `json:"failed"`
	CreatedAt time.Time       `json:"createdAt"`
}

// RatingFailure names a row that failed.
type RatingFailure struct {
	Row       int    `json:"row"`
	MessageID string `json:"messageId"`
	Reason    string `json:"reason"`
}

// RatingEvent is the data of the events of ratings: the rows of one chunk, of which there
// are 100 at most, that ended so. Its event's subject is the job's id.
type RatingEvent struct {
	ID   string           `json:"id"`
	Rows []RatingEventRow `json:"rows"`
}

// RatingEventRow is one rating of an event.
type RatingEventRow struct {
	Row       int    `json:"row"`
	MessageID string `json:"messageId"`
	Rating    int    `json:"rating"`
	// Reason says why it failed; only in rating.failed.
	Reason string `json:"reason,omitempty"`
}
