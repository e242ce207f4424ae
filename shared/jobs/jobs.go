// Package jobs is the vocabulary that functions and workers share: the subjects that jobs
// and events travel on, and the JSON that they carry. Functions and workers never import
// each other; they meet here.
//
// It holds types and their checks, and uses nothing but the standard library. How a job
// is moved is the business of package queue.
package jobs

// The subjects of jobs. Every job's subject starts with [SubjectPrefix].
const (
	SubjectPrefix = "xinghe.jobs."
	// SubjectExport is followed by an export's id and carries the [Export], to be planned
	// and followed to its end.
	SubjectExport = SubjectPrefix + "export.run."
	// SubjectWindow is followed by "<export id>.<number>.<round>" and carries a [Window].
	SubjectWindow = SubjectPrefix + "export.window."
)

// The buckets that hold what becomes of jobs.
const (
	// BucketExports keeps an [Export] under its id.
	BucketExports = "xinghe_exports"
	// BucketLive keeps a [Live] under the name of an export.
	BucketLive = "xinghe_exports_live"
	// BucketMarks keeps a [Mark] under the name of a watermark.
	BucketMarks = "xinghe_watermarks"
	// BucketWindows keeps a [WindowResult] under "<export id>.<number>".
	BucketWindows = "xinghe_windows"
	// BucketPlans keeps a [PlanChunk] under "<plan>.<number>".
	BucketPlans = "xinghe_plans"
	// BucketDirectory keeps a [DirectoryEntry] under its [DirectoryKey].
	BucketDirectory = "xinghe_directory"
)

// EventPrefix starts the subject of every event; the rest is the event's type.
const EventPrefix = "xinghe.events."

// SubjectChatEvents is the filter for [EventChatCompleted] and [EventChatFailed].
const SubjectChatEvents = EventPrefix + "chat.>"

// The types of events. On the wire a type is "xinghe." and the word.
const (
	EventExportDone    = "export.done"
	EventExportPartial = "export.partial"
	EventExportFailed  = "export.failed"

	// The next five carry a [ChatEvent]. Every chat ends in exactly one of the first two;
	// what else it was comes beside that, under the same requestId and messageId.
	EventChatCompleted     = "chat.completed"
	EventChatFailed        = "chat.failed"
	EventHandoverRequested = "handover.requested" // the bot asks for a person to take over
	EventAnswerMissing     = "answer.missing"     // the bot has no answer to the question
	EventAnswerSensitive   = "answer.sensitive"   // the question or the answer was held back
)
