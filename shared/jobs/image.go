package jobs

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

const (
	// SubjectImage is followed by an [ImageKey] and carries an [ImageJob].
	SubjectImage = SubjectPrefix + "image."
	// BucketImages keeps an [Image] under its [ImageKey] for [ImageRetention].
	BucketImages = "xinghe_images"
)

// The types of events about pictures; each carries an [Image]. A picture whose address
// expired has failed too: its state tells.
const (
	EventImageReady  = "image.ready"
	EventImageFailed = "image.failed"
)

// ImageRetention is how long the state of a picture is known after it was last written. The
// files stay.
const ImageRetention = 90 * 24 * time.Hour

// ImageFolder is where the files of pictures are, below the sink's root: those of a message
// in a folder of its [ImageKey], named by their number from 1 and their type.
const ImageFolder = "images"

// ImageState says what has become of a picture.
type ImageState string

// The states of a picture. All but the first are ends.
const (
	ImagePending ImageState = "pending"
	ImageReady   ImageState = "ready"
	ImageFailed  ImageState = "failed"
	ImageExpired ImageState = "expired" // it was made, but its address expired before it was fetched
)

// Ended reports whether nothing more will happen by itself.
func (s ImageState) Ended() bool { return s == ImageReady || s == ImageFailed || s == ImageExpired }

// Image is the state of a picture: the answer of GET /v1/images/{messageId}.
type Image struct {
	// MessageID and UserID as in the [ImageRequest].
	MessageID string     `json:"messageId"`
	UserID    string     `json:"userId"`
	State     ImageState `json:"state"`
	// Files of a picture that is ready, in upstream's order.
	Files []ImageFile `json:"files"`
	// Error says why there is no picture.
	Error *string `json:"error"`
	// Round counts how often the picture was asked for: one more each time after an end
	// without a picture.
	Round int `json:"round"`
	// Unasked tells that nobody asked, see [ImageJob]; whoever asks later takes it away.
	Unasked bool `json:"unasked,omitempty"`
	// RequestedAt is when this round began, EndedAt when it ended.
	RequestedAt time.Time  `json:"requestedAt"`
	EndedAt     *time.Time `json:"endedAt,omitempty"`
}

// ImageFile is a file of a picture.
type ImageFile struct {
	// Path below the sink's root.
	Path        string `json:"path"`
	ContentType string `json:"contentType"`
	Bytes       int64  `json:"bytes"`
	// SHA256 of the content, in hex.
	SHA256 string `json:"sha256"`
}

// ImageRequest asks for the picture that belongs to an answer: the body of POST /v1/images.
type ImageRequest struct {
	// MessageID is upstream's id of the answer.
	MessageID string `json:"messageId"`
	// UserID is the user who was answered.
	UserID string `json:"userId"`
}

// ImageJob is what the worker gets.
type ImageJob struct {
	ImageRequest
	Round       int       `json:"round"`
	RequestedAt time.Time `json:"requestedAt"`
	// Unasked tells that nobody asked: the answer may have no picture, which is no failure.
	Unasked bool `json:"unasked,omitempty"`
}

// Limits of an [ImageRequest], in bytes.
const (
	MaxImageMessageID = 64
	MaxImageUserID    = 256
)

// Check returns every fault of a request.
func (r ImageRequest) Check() []Fault {
	var faults faults
	for _, field := range []struct {
		name, value string
		limit       int
	}{{"messageId", r.MessageID, MaxImageMessageID}, {"userId", r.UserID, MaxImageUserID}} {
		switch {
		case field.value == "":
			faults.add(field.name, "missing")
		case len(field.value) > field.limit:
			faults.add(field.name, "longer than %d bytes", field.limit)
		case strings.ContainsFunc(field.value, unicode.IsControl):
			faults.add(field.name, "control characters in it")
		}
	}
	return faults
}

// ImageKey is the name of a message's picture in subjects, keys and paths. Lower-case
// letters, digits and - stand for themselves, all else as = and two hex digits a byte: so
// different messages have different names, on disks that know no case as well.
func ImageKey(messageID string) string {
	var key strings.Builder
	for i := range len(messageID) {
		switch c := messageID[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-':
			key.WriteByte(c)
		default:
			fmt.Fprintf(&key, "=%02x", c)
		}
	}
	return key.String()
}

// Begin makes the record that of the job's round; it reports false if the record is of that
// round, or a later one, already.
func (i *Image) Begin(job ImageJob) bool {
	if i.Round >= job.Round {
		return false
	}
	*i = Image{
		MessageID: job.MessageID, UserID: job.UserID, State: ImagePending, Files: []ImageFile{},
		Round: job.Round, Unasked: job.Unasked, RequestedAt: job.RequestedAt,
	}
	return true
}
