package httpapi

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// exposed are the headers of an answer that scripts of other origins may read.
const exposed = "X-Request-Id, X-Upstream-Request-Id, X-Session-Id, Location, Retry-After, Idempotency-Replayed"

// crossOrigin sets what browsers ask for, and reports whether the request was a preflight
// that is answered herewith. It never allows credentials: keys come in the header
// Authorization, which scripts set themselves.
func (s *Server) crossOrigin(w *response, r *http.Request) bool {
	if len(s.cfg.Origins) == 0 {
		return false
	}
	origin, allowed := r.Header.Get("Origin"), "*"
	header := w.Header()
	if !slices.Contains(s.cfg.Origins, "*") {
		// Caches must not hand one origin's answer to another, or to a caller that has none.
		header.Add("Vary", "Origin")
		if allowed = origin; !slices.Contains(s.cfg.Origins, origin) {
			return false
		}
	}
	if origin == "" {
		return false
	}
	header.Set("Access-Control-Allow-Origin", allowed)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		header.Set("Access-Control-Expose-Headers", exposed)
		return false
	}
	header.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	header.Set("Access-Control-Allow-Methods", s.methods)
	// Clients bring headers of their own, which the official ones use for statistics.
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		header.Set("Access-Control-Allow-Headers", asked)
	}
	header.Set("Access-Control-Max-Age", "600")
	w.matched = true
	w.WriteHeader(http.StatusNoContent)
	return true
}

// methods lists those that any route takes.
func methods(routes []Route) string {
	var list []string
	for _, route := range routes {
		if method, _, ok := strings.Cut(route.Pattern, " "); ok && !slices.Contains(list, method) {
			list = append(list, method)
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// checkOrigins finds origins that no browser would ever send.
func checkOrigins(origins []string) error {
	var faults []error
	for _, origin := range origins {
		if origin == "*" {
			continue
		}
		u, err := url.Parse(origin)
		if err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != origin || strings.ToLower(origin) != origin {
			faults = append(faults, errors.New(origin+": want * or an origin as browsers send it, such as https://app.example, without a path and in lower case"))
		}
	}
	return errors.Join(faults...)
}
