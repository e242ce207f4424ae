package fault

// Name names a fault. Unknown names are refused when rules are set.
type Name string

// Faults that strike before the answer begins.
const (
	// Latency waits Delay plus up to Jitter before anything else happens. Default: 100 ms, no jitter.
	Latency Name = "latency"
	// Throttle answers 429 with Retry-After (RetryAfter, default 1 s).
	Throttle Name = "throttle"
	// ThrottleBare answers 429 without Retry-After.
	ThrottleBare Name = "throttle-bare"
	// Quota lets Limit requests of a key through in each Window (default: one window without end), then answers 429.
	Quota Name = "quota"
	// InternalError answers 500.
	InternalError Name = "500"
	// BadGateway answers 502.
	BadGateway Name = "502"
	// Unavailable answers 503.
	Unavailable Name = "503"
	// Refuse resets the connection before a byte of the answer was written. With Delay the port is closed as well for so
	// long, if the server listens through a gate ([Engine.OnRefuse]): new connections get ECONNREFUSED.
	Refuse Name = "refuse"
)

// Faults of the connection and of the bytes on it. Where is said by AtFrame (the first frame is 1) or AtByte.
const (
	// Reset resets the connection (RST) in place of frame AtFrame or after byte AtByte.
	Reset Name = "reset"
	// HalfClose ends the sending side (FIN) without the end of the HTTP body, in place of AtFrame or after AtByte.
	HalfClose Name = "half-close"
	// Stall goes silent in place of AtFrame or after AtByte: for Delay, or for as long as the client stays if Delay is 0.
	Stall Name = "stall"
	// Cut ends the stream in good order without its last frame, or before AtFrame if that is set.
	Cut Name = "cut"
	// ErrorEvent sends the service's event:error in place of frame AtFrame (default 1) and ends the stream.
	ErrorEvent Name = "event-error"
	// Split writes frame AtFrame (default: every frame) in two writes, inside a rune where there is one.
	Split Name = "split"
	// Join writes frame AtFrame (default: every odd one) and the next in one write.
	Join Name = "join"
	// CRLF ends lines with CR LF.
	CRLF Name = "crlf"
	// Huge pads frame AtFrame (default 1), or a JSON answer, to Bytes (default 5 MB).
	Huge Name = "huge"
	// InvalidUTF8 breaks a rune of frame AtFrame (default 1), or of a JSON answer.
	InvalidUTF8 Name = "invalid-utf8"
	// MalformedJSON takes the last brace off frame AtFrame (default 1), or off a JSON answer.
	MalformedJSON Name = "malformed-json"
	// Rewrite makes a cumulative text take back, from frame AtFrame (default 2) on, what it had said before.
	Rewrite Name = "rewrite"
	// Comment sends an SSE comment line before each frame, as a gateway's heartbeat would.
	Comment Name = "comment"
)

// Faults of meaning; the halves apply them themselves.
const (
	// TokenExpired treats a stream access token as expired before its time.
	TokenExpired Name = "token-expired"
	// EqualTimes gives neighbouring history rows the same gmtCreate.
	EqualTimes Name = "equal-times"
	// LateRows leaves the newest rows (Rows, default 3) out of a history until a later request asks again.
	LateRows Name = "late-rows"
	// TotalDrift changes total from page to page by up to Rows (default 3).
	TotalDrift Name = "total-drift"
	// RepeatRow repeats the last row of a page at its beginning, pushing the others on.
	RepeatRow Name = "repeat-row"
	// DropRow leaves the first row of a page out.
	DropRow Name = "drop-row"
	// ImageStuck leaves a picture running for ever.
	ImageStuck Name = "image-stuck"
	// ImageFailed lets a picture fail.
	ImageFailed Name = "image-failed"
	// ImageExpired hands out an address of a picture that has expired already.
	ImageExpired Name = "image-expired"
)

// Names lists every fault in the order of this file.
func Names() []Name {
	return []Name{
		Latency, Throttle, ThrottleBare, Quota, InternalError, BadGateway, Unavailable, Refuse,
		Reset, HalfClose, Stall, Cut, ErrorEvent, Split, Join, CRLF, Huge, InvalidUTF8, MalformedJSON, Rewrite, Comment,
		TokenExpired, EqualTimes, LateRows, TotalDrift, RepeatRow, DropRow, ImageStuck, ImageFailed, ImageExpired,
	}
}
