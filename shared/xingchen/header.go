package xingchen

import "net/http"

// The gateway's own headers, as net/http spells them: a look-up under another spelling, such
// as the documents' x-fag-servicename, makes a new string each time. Those of two spellings
// are switches, which are on when they say "enable".
const (
	// HeaderService names the service behind a path; the variant that ends in -sse streams.
	HeaderService = "X-Fag-Servicename"
	headerApp     = "X-Fag-Appcode"

	headerStream        = "X-Aca-Sse"
	headerStreamToo     = "X-Dashscope-Sse"
	headerInspection    = "X-Aca-Datainspection"
	headerInspectionToo = "X-Dashscope-Datainspection"
	headerRequestID     = "X-Request-Id"
	enable              = "enable"
)

// Values that are the same for all calls are not made for each.
var (
	asJSON   = []string{"application/json"}
	asStream = []string{"text/event-stream;charset=UTF-8"}
	app      = []string{"aca"}
	enabling = []string{enable}
)

// WantsStream reports whether a request's switch asks for a stream; its service name, which
// may do so too, is not looked at.
func WantsStream(h http.Header) bool { return enabled(h, headerStream, headerStreamToo) }

// WantsInspection reports whether a request asks for the content check.
func WantsInspection(h http.Header) bool { return enabled(h, headerInspection, headerInspectionToo) }

func enabled(h http.Header, name, too string) bool {
	return h.Get(name) == enable || h.Get(too) == enable
}
