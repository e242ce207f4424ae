package emulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"xinghe/testlocal/emulator/fault"
)

// controlPath is the prefix of what belongs to the emulator itself.
const controlPath = "/_emulator/"

// maxControlBody bounds a set of rules.
const maxControlBody = 1 << 20

// problem is an error of the emulator itself.
type problem struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"code":"InternalError"}`)
	}
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

func (e *Emulator) serveControl(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case controlPath + "faults":
		e.serveFaults(w, r)
	case controlPath + "requests":
		e.serveRequests(w, r)
	case controlPath + "health":
		writeJSON(w, http.StatusOK, map[string]any{"status": "ok", "seed": e.seed})
	default:
		writeJSON(w, http.StatusNotFound, problem{Code: "NotFound", Message: "known are faults, requests, files and health"})
	}
}

func (e *Emulator) serveFaults(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
	case http.MethodDelete:
		e.faults.Clear()
	case http.MethodPut, http.MethodPost:
		set, err := ReadFaults(http.MaxBytesReader(w, r.Body, maxControlBody))
		if err == nil {
			err = e.faults.Apply(set)
		}
		if err != nil {
			writeJSON(w, http.StatusBadRequest, problem{Code: "InvalidRules", Message: err.Error()})
			return
		}
	default:
		notAllowed(w, "GET, PUT, DELETE")
		return
	}
	set := e.faults.Snapshot()
	for i := range set.Rules {
		set.Rules[i].Key = maskKey(set.Rules[i].Key)
	}
	if set.Rules == nil {
		set.Rules = []fault.Rule{}
	}
	writeJSON(w, http.StatusOK, set)
}

// ReadFaults reads rules as PUT /_emulator/faults takes them and a faults file holds them. Unknown fields are an error: a
// selector that is misspelt would strike everything. Rules are checked when they are applied.
func ReadFaults(r io.Reader) (fault.Set, error) {
	var set fault.Set
	decoder := json.NewDecoder(r)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&set); err != nil {
		return fault.Set{}, fmt.Errorf("decode faults: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return fault.Set{}, fmt.Errorf("decode faults: more than one JSON value")
	}
	return set, nil
}

func (e *Emulator) serveRequests(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
		writeJSON(w, http.StatusOK, map[string]any{"requests": e.requests.list(), "total": e.requests.total()})
	case http.MethodDelete:
		e.requests.clear()
		writeJSON(w, http.StatusOK, map[string]any{"requests": []Request{}, "total": 0})
	default:
		notAllowed(w, "GET, DELETE")
	}
}

func notAllowed(w http.ResponseWriter, allow string) {
	w.Header().Set("Allow", allow)
	writeJSON(w, http.StatusMethodNotAllowed, problem{Code: "MethodNotAllowed", Message: "allowed are " + allow})
}
