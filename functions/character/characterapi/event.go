package characterapi

import (
	"bytes"
	"encoding/json"
	"net/http"

	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
)

// tell publishes the event of a change that upstream has made, whether or not its caller
// has got the answer.
func (h handler) tell(op operation, r *http.Request, document any, out *listener) {
	if !out.done {
		return
	}
	call := httpapi.CallFrom(r.Context())
	event := jobs.CharacterEvent{Key: call.Key, RequestID: call.ID, UpstreamRequestID: call.UpstreamID}
	event.CharacterID, event.Version = named(document)
	if event.CharacterID == "" {
		event.CharacterID = r.URL.Query().Get("characterId")
	}
	if op.event == jobs.EventCharacterCreated {
		event.CharacterID, event.Version = out.created()
	}
	h.cfg.Events.Publish(r.Context(), op.event, "", jobs.Bot(jobs.BotCharacter, event.CharacterID), &event)
}

// named reads which character a body names.
func named(document any) (id string, version int64) {
	o, ok := document.(map[string]any)
	if !ok {
		return "", 0
	}
	id, _ = o["characterId"].(string)
	if n, ok := o["version"].(json.Number); ok {
		version, _ = n.Int64() // it has been checked
	}
	return id, version
}

// maxHeard is how much of an answer is listened to: that to "create" is a few hundred bytes.
const maxHeard = 8 << 10

// listener hears what upstream answers a change with.
type listener struct {
	http.ResponseWriter
	done bool // upstream reports success
	body bytes.Buffer
}

// Unwrap serves http.ResponseController.
func (l *listener) Unwrap() http.ResponseWriter { return l.ResponseWriter }

func (l *listener) WriteHeader(status int) {
	l.done = status >= http.StatusOK && status < http.StatusMultipleChoices
	l.ResponseWriter.WriteHeader(status)
}

func (l *listener) Write(p []byte) (int, error) {
	l.body.Write(p[:min(len(p), maxHeard-min(l.body.Len(), maxHeard))])
	return l.ResponseWriter.Write(p)
}

// created reads the new character's id off the answer.
func (l *listener) created() (id string, version int64) {
	var answer struct {
		Data struct {
			CharacterID string `json:"characterId"`
			Version     int64  `json:"version"`
		} `json:"data"`
	}
	if json.Unmarshal(l.body.Bytes(), &answer) != nil {
		return "", 0
	}
	return answer.Data.CharacterID, answer.Data.Version
}
