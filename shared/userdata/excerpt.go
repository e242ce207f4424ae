package userdata

import (
	"encoding/json"
	"strings"

	"xinghe/shared/jobs"
)

// Excerpts are the user's part of what is of others too. They cannot fail: what cannot be
// decoded was not found to be the user's either.

// eventExcerpt is the user's part of an event, by its type, or of a job, by its subject.
func (m *matcher) eventExcerpt(kind string, data []byte) []byte {
	var event jobs.Event
	switch {
	case !json.Valid(data):
		return nil
	case strings.HasPrefix(kind, "rating.") && json.Unmarshal(data, &event) == nil:
		event.Data = m.ratingExcerpt(event.Data)
	case strings.HasPrefix(kind, "export.") && json.Unmarshal(data, &event) == nil:
		event.Data = m.exportExcerpt(event.Data)
	case strings.HasPrefix(kind, jobs.SubjectExport):
		return m.exportExcerpt(data)
	case strings.HasPrefix(kind, jobs.SubjectWindow):
		var window jobs.Window
		_ = json.Unmarshal(data, &window)
		window.Redact = window.Redact.WithoutPatterns()
		excerpt, _ := encode(window)
		return excerpt
	case strings.HasPrefix(kind, jobs.SubjectDelivery) && json.Unmarshal(data, &event) == nil:
		return m.eventExcerpt(jobs.ShortType(event.Type), data)
	default:
		return data
	}
	excerpt, _ := encode(event)
	return excerpt
}

// ratingExcerpt keeps the rows of the user's messages.
func (m *matcher) ratingExcerpt(data []byte) []byte {
	var list struct {
		ID   string            `json:"id,omitempty"`
		Rows []json.RawMessage `json:"rows"`
	}
	_ = json.Unmarshal(data, &list)
	mine := list.Rows[:0]
	for _, row := range list.Rows {
		if m.linked(row) {
			mine = append(mine, row)
		}
	}
	list.Rows = mine
	excerpt, _ := encode(list)
	return excerpt
}

// exportExcerpt tells that the user was named in an export, and nothing of the others.
func (m *matcher) exportExcerpt(data []byte) []byte {
	var e jobs.Export
	_ = json.Unmarshal(data, &e)
	excerpt, _ := encode(struct {
		ID         string      `json:"id"`
		Name       string      `json:"name"`
		State      jobs.State  `json:"state"`
		Characters jobs.Names  `json:"characters"`
		Range      *jobs.Range `json:"range,omitempty"`
		UserID     string      `json:"userId"`
	}{e.ID, e.Name, e.State, e.Spec.Characters, e.Range, m.user.ID})
	return excerpt
}

// planExcerpt keeps the user's pairs.
func (m *matcher) planExcerpt(chunk jobs.PlanChunk) []byte {
	var mine jobs.PlanChunk
	for _, pair := range chunk.Pairs {
		if m.pair(pair) {
			mine.Pairs = append(mine.Pairs, pair)
		}
	}
	excerpt, _ := encode(mine)
	return excerpt
}

func (m *matcher) pair(pair [2]string) bool {
	return pair[1] == m.user.ID && m.character(pair[0])
}
