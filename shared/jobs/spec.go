package jobs

import (
	"encoding/json"
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
	// Name groups the runs of one export, and is the first folder of its files. One run of
	// a name can be live at a time.
	Name string `json:"name"`
	// Characters are the ids of the characters whose histories are read, or [CharactersMine].
	Characters Names `json:"characters"`
	// Users are the ids of the users whose messages are read, or [UsersDirectory].
	Users Names `json:"users"`
	// From and To bound the messages' time: [From, To), to the millisecond. With a Watermark
	// To is left out, and From only says where its first run begins.
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`
	// Watermark makes each run go on where the last one ended.
	Watermark *Watermark `json:"watermark,omitempty"`
	// Filter picks among the messages of the range; nil takes all.
	Filter *Filter `json:"filter,omitempty"`
	// Redact says what contents must not hold; nil leaves them as they are.
	Redact *Redact `json:"redact,omitempty"`
	// Partition divides the files into folders; nil for none.
	Partition *Partition `json:"partition,omitempty"`
	// Format of the rows; [FormatJSONL] by default.
	Format string `json:"format"`
	// Compression of the parts; [CompressionNone] by default, but for Parquet.
	Compression string `json:"compression"`
	// Sink is where the files go; by default a folder of the export's name.
	Sink Sink `json:"sink"`
}

// Words that stand for a whole list of ids.
const (
	// CharactersMine stands for all characters that the upstream key owns, as they are when
	// the run is planned.
	CharactersMine = "my"
	// UsersDirectory stands for the users of which the directory knows that they have talked
	// to the character; see [DirectoryEntry].
	UsersDirectory = "directory"
)

// The formats and compressions of parts.
const (
	FormatJSONL   = "jsonl"
	FormatCSV     = "csv"
	FormatParquet = "parquet" // compressed by zstd within
	// Of these each line is a whole dialogue, to tune models with.
	FormatOpenAI   = "openai-chat"
	FormatShareGPT = "sharegpt"

	CompressionNone = "none"
	CompressionGzip = "gzip"
	CompressionZstd = "zstd"
)

// Dialogues reports whether the lines of a format are whole dialogues.
func Dialogues(format string) bool { return format == FormatOpenAI || format == FormatShareGPT }

// The types of messages, as upstream names them. It follows Xingchen HTTP API, history query.
const (
	TypeUser      = "user"
	TypeCharacter = "character"
	TypeOpening   = "opening_remarks"
	TypeReminder  = "sys_greetings"
)

// The types of sinks.
const (
	SinkFolder = "folder"
	SinkS3     = "s3"
	SinkOSS    = "oss"
)

// Sinks are all types of sinks.
var Sinks = []string{SinkFolder, SinkS3, SinkOSS}

// Names is a list of ids. In JSON one that stands alone may be written without brackets.
type Names []string

// UnmarshalJSON takes a list of strings, or one string.
func (n *Names) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*n = Names{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(n))
}

// Is reports whether the list is nothing but the word, such as [CharactersMine].
func (n Names) Is(word string) bool { return len(n) == 1 && n[0] == word }

// Watermark is the end of the last complete run, kept under a name. A run reads from there,
// less Lookback, until now, less Lag: so that a missed run is caught up with by the next,
// and rows that upstream shows late still come.
type Watermark struct {
	Name string `json:"name"`
	// Lookback is how much before the mark is read again. Its rows come a second time: who
	// gathers several runs keeps one row of each messageId. Default 0.
	Lookback Duration `json:"lookback,omitempty"`
	// Lag is how long a message must be past before it is read. Default 5 minutes.
	Lag Duration `json:"lag,omitempty"`
}

// Filter picks messages. What upstream cannot be asked for is read and left out, and
// counted in the manifest.
type Filter struct {
	// MessageTypes as upstream names them: [TypeUser] and the like.
	MessageTypes []string `json:"messageTypes,omitempty"`
	// MinRating and MaxRating bound the rating, both included; a message that nobody rated
	// passes neither. A dialogue passes if some message of it is rated, and all that are pass.
	MinRating *float64 `json:"minRating,omitempty"`
	MaxRating *float64 `json:"maxRating,omitempty"`
}

// Passes reports whether a message is taken; nil takes all.
func (f *Filter) Passes(row Row) bool {
	if f == nil {
		return true
	}
	if len(f.MessageTypes) > 0 && !slices.Contains(f.MessageTypes, row.MessageType) {
		return false
	}
	if f.MinRating == nil && f.MaxRating == nil {
		return true
	}
	return row.Rating != nil && (f.MinRating == nil || *row.Rating >= *f.MinRating) && (f.MaxRating == nil || *row.Rating <= *f.MaxRating)
}

// PassesDialogue reports whether a dialogue of these messages is taken; nil takes all.
func (f *Filter) PassesDialogue(rows []Row) bool {
	if f == nil || f.MinRating == nil && f.MaxRating == nil {
		return true
	}
	rated := false
	for _, row := range rows {
		if row.Rating == nil {
			continue
		}
		if rated = true; !f.Passes(row) {
			return false
		}
	}
	return rated
}

// Sink is where an export's files go.
type Sink struct {
	// Type must be the one that the deployment writes to (XINGHE_SINK): "folder", "s3" or "oss".
	// Default: whichever that is.
	Type string `json:"type,omitempty"`
	// Path below the deployment's root; the export's name by default.
	Path string `json:"path"`
}

// Limits of an [ExportSpec].
const (
	MaxExportName       = 64
	MaxExportCharacters = 1_000
	MaxExportUsers      = 100_000
	MaxExportWindows    = 1_000_000
	MaxWatermarkSpan    = Duration(31 * 24 * time.Hour)
)

// DefaultLag is the Lag of a [Watermark] that names none.
const DefaultLag = Duration(5 * time.Minute)

// Duration is a span of time that JSON writes as Go does: "1h30m".
type Duration time.Duration

// MarshalText writes the span as Go does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads a span such as "1h30m".
func (d *Duration) UnmarshalText(text []byte) error {
	span, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no span of time such as \"1h30m\"", text)
	}
	*d = Duration(span)
	return nil
}

// Fault names a field of a job and what is wrong with it.
type Fault struct{ Field, Message string }

// WithDefaults fills in what may be left out.
func (s ExportSpec) WithDefaults() ExportSpec {
	if s.Format == "" {
		s.Format = FormatJSONL
	}
	if s.Compression == "" {
		s.Compression = CompressionNone
		if s.Format == FormatParquet {
			s.Compression = CompressionZstd
		}
	}
	if s.Sink.Path == "" {
		s.Sink.Path = s.Name
	}
	if s.Watermark != nil && s.Watermark.Lag == 0 {
		mark := *s.Watermark
		mark.Lag = DefaultLag
		s.Watermark = &mark
	}
	if s.Redact != nil && s.Redact.Replacement == "" {
		redact := *s.Redact
		redact.Replacement = DefaultReplacement
		s.Redact = &redact
	}
	if s.Partition != nil && s.Partition.TimeZone == "" {
		partition := *s.Partition
		partition.TimeZone = DefaultTimeZone
		s.Partition = &partition
	}
	return s
}

// Check returns every fault of a spec that has its defaults.
func (s ExportSpec) Check() []Fault {
	var faults faults
	faults.name("name", s.Name)
	faults.ids("characters", s.Characters, MaxExportCharacters, CharactersMine)
	faults.ids("users", s.Users, MaxExportUsers, UsersDirectory)
	if len(s.Characters)*len(s.Users) > MaxExportWindows {
		faults.add("users", "%d characters × %d users are more than %d histories", len(s.Characters), len(s.Users), MaxExportWindows)
	}
	s.checkRange(&faults)
	s.checkFilter(&faults)
	s.Redact.check(&faults)
	s.Partition.check(&faults, s)
	if formats := []string{FormatJSONL, FormatCSV, FormatParquet, FormatOpenAI, FormatShareGPT}; !slices.Contains(formats, s.Format) {
		faults.add("format", "%q is not supported; use %s", s.Format, strings.Join(formats, ", "))
	}
	if s.Format == FormatParquet && s.Compression != CompressionZstd {
		faults.add("compression", "%q does not go with format \"parquet\", whose files are compressed by zstd themselves: leave it out, or say \"zstd\"", s.Compression)
	} else if !slices.Contains([]string{CompressionNone, CompressionGzip, CompressionZstd}, s.Compression) {
		faults.add("compression", "%q is not supported; use \"none\", \"gzip\" or \"zstd\"", s.Compression)
	}
	if s.Sink.Type != "" && !slices.Contains(Sinks, s.Sink.Type) {
		faults.add("sink.type", "%q is not supported; use \"folder\", \"s3\" or \"oss\"", s.Sink.Type)
	}
	if !filepath.IsLocal(s.Sink.Path) || strings.ContainsAny(s.Sink.Path, "\\\x00") {
		faults.add("sink.path", "must be a relative path that stays below the exports' root")
	}
	return faults
}

func (s ExportSpec) checkRange(faults *faults) {
	mark := s.Watermark
	if mark == nil {
		switch {
		case s.From.IsZero():
			faults.add("from", "missing; or give a watermark")
		case s.To.IsZero():
			faults.add("to", "missing; or give a watermark")
		case !s.From.Before(s.To):
			faults.add("to", "not after from")
		}
		return
	}
	faults.name("watermark.name", mark.Name)
	if !s.To.IsZero() {
		faults.add("to", "cannot stand beside a watermark, which ends each run by its lag")
	}
	for _, f := range []struct {
		field string
		span  Duration
	}{{"watermark.lookback", mark.Lookback}, {"watermark.lag", mark.Lag}} {
		if f.span < 0 || f.span > MaxWatermarkSpan {
			faults.add(f.field, "must be 0 to %s", time.Duration(MaxWatermarkSpan))
		}
	}
}

func (s ExportSpec) checkFilter(faults *faults) {
	if s.Filter == nil {
		return
	}
	if Dialogues(s.Format) && len(s.Filter.MessageTypes) > 0 {
		faults.add("filter.messageTypes", "would tear dialogues; leave it out for %q", s.Format)
	}
	for i, kind := range s.Filter.MessageTypes {
		if kind == "" {
			faults.add(fmt.Sprintf("filter.messageTypes[%d]", i), "is empty")
		}
	}
	if low, high := s.Filter.MinRating, s.Filter.MaxRating; low != nil && high != nil && *low > *high {
		faults.add("filter.maxRating", "less than minRating")
	}
}

// faults gathers what is wrong with a job.
type faults []Fault

func (f *faults) add(field, message string, args ...any) {
	*f = append(*f, Fault{field, fmt.Sprintf(message, args...)})
}

// name checks a name that becomes part of keys and paths.
func (f *faults) name(field, name string) {
	switch {
	case name == "":
		f.add(field, "missing")
	case len(name) > MaxExportName:
		f.add(field, "longer than %d bytes", MaxExportName)
	case strings.ContainsFunc(name, notInName):
		f.add(field, "only letters, digits, '-', '_' and '.' may stand in it")
	case strings.HasPrefix(name, "."), strings.HasSuffix(name, "."), strings.Contains(name, ".."):
		f.add(field, "starts or ends with a dot, or has two in a row")
	}
}

func notInName(c rune) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	return !strings.ContainsRune(allowed, c)
}

// ids checks a list of ids; word stands for all of them if it is the only one.
func (f *faults) ids(field string, ids Names, limit int, word string) {
	if ids.Is(word) {
		return
	}
	if len(ids) == 0 {
		f.add(field, "missing: at least one id, or %q", word)
	}
	if len(ids) > limit {
		f.add(field, "%d ids, at most %d", len(ids), limit)
	}
	seen := make(map[string]bool, len(ids))
	for i, id := range ids {
		switch {
		case id == "" || len(id) > MaxDirectoryID:
			f.add(fmt.Sprintf("%s[%d]", field, i), "an id has 1 to %d bytes", MaxDirectoryID)
		case id == word:
			f.add(fmt.Sprintf("%s[%d]", field, i), "%q stands for all and must be alone", word)
		case seen[id]:
			f.add(fmt.Sprintf("%s[%d]", field, i), "%q stands in the list twice", id)
		}
		seen[id] = true
	}
}
