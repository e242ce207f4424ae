package console

import (
	"fmt"
	"io"

	"xinghe/shared/faas"
)

// Platform says as what the functions run and how to make the platform call them.
func Platform(w io.Writer, entry, url string) {
	as := map[string]string{
		faas.EntryFCWeb:       "web functions of Function Compute: answers stream, and carry Content-Disposition: attachment as on its default domain",
		faas.EntryFCEvent:     "event functions of Function Compute (go1): one call at a time in an instance, answers come whole",
		faas.EntryLambdaURL:   "Lambda functions behind Function URLs: one call at a time in an instance, answers stream",
		faas.EntryLambdaEvent: "Lambda functions behind an HTTP API: one call at a time in an instance, answers come whole",
	}[entry]
	_, _ = fmt.Fprintf(w, `
The functions run as %s.
Instances are frozen between calls. Events come by %s/_platform/FUNCTION/SOURCE:

`, as, url)
	spec := `{"name":"nightly","characters":"my","users":"directory","from":"2024-05-01T00:00:00Z","to":"2024-05-02T00:00:00Z"}`
	source := "invoke" // as a schedule does
	if entry == faas.EntryFCWeb || entry == faas.EntryFCEvent {
		source = "timer"
	}
	_, _ = fmt.Fprintf(w, "  curl %s/_platform/history-export/%s -d '%s'\n", url, source, spec)
	if source == "invoke" {
		_, _ = fmt.Fprintf(w, "  curl %s/_platform/history-export/sqs -d '%s'\n", url, spec)
	}
}
