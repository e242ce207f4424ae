package faas

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Headers of Function Compute.
const (
	headerControl   = controlPrefix + "Control-Path"
	headerStatus    = controlPrefix + "Status"
	headerRequestID = controlPrefix + "Request-Id"
	headerTimeout   = controlPrefix + "Function-Timeout"
	headerRetries   = controlPrefix + "Retry-Count"

	// What the platform is told of a call.
	statusDone, statusFailed = "200", "404"
)

// Paths that Function Compute calls itself.
const (
	pathInvoke     = "/invoke"
	pathInitialize = "/initialize"
	pathPreStop    = "/pre-stop"
	pathHTTP       = "/http-invoke" // in the control header of callers' requests
)

// maxEvent bounds an event, as Function Compute and Lambda do at the latest.
const maxEvent = 32 << 20

// serveFCWeb is the entry fc-web: a server in a custom runtime (Function Compute, "Web
// functions" and "Event handlers in a custom runtime").
func serveFCWeb(ctx context.Context, i *instance) error {
	listener, err := Listen(ctx, i.cfg.Addr, varFCPort)
	if err != nil {
		return err
	}
	return i.listen(ctx, listener, &fcWeb{i})
}

// fcWeb tells the platform's own calls from those of callers, by path and by a header that
// callers cannot set.
type fcWeb struct{ *instance }

func (f *fcWeb) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	control := r.Header.Get(headerControl)
	switch {
	case r.URL.Path == pathInvoke && control == pathInvoke && r.Method == http.MethodPost:
		f.logged("Invoke", w, r, f.invoke)
	case r.URL.Path == pathInitialize && control == pathInitialize && r.Method == http.MethodPost:
		f.logged("Initialize", w, r, f.initialize)
	// The header of this call is not documented; callers' requests always carry theirs.
	case r.URL.Path == pathPreStop && (control == pathPreStop || control == "") && r.Method == http.MethodGet:
		f.logged("PreStop", w, r, f.preStop)
	default:
		f.logged("Invoke", w, r, f.request)
	}
}

// logged brackets a call with the lines by which the platform cuts the log.
func (f *fcWeb) logged(what string, w http.ResponseWriter, r *http.Request, call func(http.ResponseWriter, *http.Request) error) {
	lines, id := f.cfg.Lines, r.Header.Get(headerRequestID)
	if id == "" { // a probe of health
		lines = io.Discard
	}
	_, _ = fmt.Fprintf(lines, "FC %s Start RequestId: %s\n", what, id)
	err := call(w, r)
	failed := ""
	if err != nil {
		failed = ", Error: Unhandled function error"
	}
	_, _ = fmt.Fprintf(lines, "FC %s End RequestId: %s%s\n", what, id, failed)
	if err == errBroken { //nolint:errorlint // never wrapped
		panic(http.ErrAbortHandler) // the caller must see that the answer is not whole
	}
}

// request is a caller's own.
func (f *fcWeb) request(w http.ResponseWriter, r *http.Request) error {
	defer f.begin(r.Context())()
	ctx, cancel := deadline(r.Context(), r.Header)
	defer cancel()
	r = r.WithContext(ctx)
	if id := r.Header.Get(headerRequestID); id != "" && r.Header.Get("X-Request-Id") == "" {
		r.Header.Set("X-Request-Id", id)
	}
	strip(r.Header)
	out := &statusWriter{ResponseWriter: w}
	return f.serve(out, r, func() bool { return out.begun })
}

// invoke is an event: of a timer or another source, or of somebody who invokes the function.
func (f *fcWeb) invoke(w http.ResponseWriter, r *http.Request) error {
	defer f.begin(r.Context())()
	ctx, cancel := deadline(r.Context(), r.Header)
	defer cancel()
	payload, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEvent))
	var answer json.RawMessage
	if err == nil {
		retries, _ := strconv.Atoi(r.Header.Get(headerRetries))
		answer, err = f.handle(ctx, fcEventOf(payload, r.Header.Get(headerRequestID), retries, f.cfg.Now()))
	}
	return report(w, answer, err)
}

func (f *fcWeb) initialize(w http.ResponseWriter, _ *http.Request) error {
	f.start()
	return report(w, nil, nil)
}

// preStop is the last call: the process is killed thereafter, as a rule without a signal.
func (f *fcWeb) preStop(w http.ResponseWriter, _ *http.Request) error {
	return report(w, nil, f.stop())
}

// report answers the platform, which takes a call for a success unless told otherwise.
func report(w http.ResponseWriter, answer json.RawMessage, err error) error {
	w.Header().Set("Content-Type", "application/json")
	status := http.StatusOK
	w.Header().Set(headerStatus, statusDone)
	if err != nil {
		w.Header().Set(headerStatus, statusFailed)
		status = http.StatusNotFound
		answer, _ = json.Marshal(map[string]string{"errorMessage": err.Error(), "errorType": fmt.Sprintf("%T", err)})
	}
	w.WriteHeader(status)
	_, _ = w.Write(answer) //nolint:gosec // JSON, and called such
	return err
}

// deadline ends the request before the platform cuts it.
func deadline(ctx context.Context, header http.Header) (context.Context, context.CancelFunc) {
	seconds, err := strconv.Atoi(header.Get(headerTimeout))
	if err != nil || seconds <= 0 {
		return ctx, func() {}
	}
	return before(ctx, time.Duration(seconds)*time.Second)
}

// statusWriter tells the platform how a request went, by its status.
type statusWriter struct {
	http.ResponseWriter
	begun bool
}

// Unwrap serves http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) WriteHeader(status int) {
	if !w.begun && status >= http.StatusOK {
		w.begun = true
		told := statusDone
		if status >= http.StatusInternalServerError {
			told = statusFailed
		}
		w.Header()[headerStatus] = []string{told}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}
