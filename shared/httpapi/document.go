package httpapi

import (
	"fmt"
	"net/http"
	"sync"

	"xinghe/shared/openapi"
)

// openapi tells what the function serves, to whoever asks. The document is made when it is
// asked for first: most functions live and die without.
func (s *Server) openapi() Route {
	document := sync.OnceValues(func() ([]byte, error) {
		patterns := make([]string, len(s.routes))
		for i, route := range s.routes {
			patterns[i] = route.Pattern
		}
		return openapi.For(patterns...)
	})
	return Route{Pattern: "GET /openapi.json", Handler: func(w http.ResponseWriter, _ *http.Request) error {
		text, err := document()
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/json")
		if _, err := w.Write(text); err != nil {
			return fmt.Errorf("write document: %w", err)
		}
		return nil
	}}
}
