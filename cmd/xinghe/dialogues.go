package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"xinghe/shared/jobs"
)

// maxLine bounds a line of dialogues, or of their index, in bytes.
const maxLine = 16 << 20

// dialogues takes in a part of dialogues, and its index, which tells the messages: they may
// stand side by side, and are checked in their order.
func (p *partCheck) dialogues(ctx context.Context) (whole bool, err error) {
	index := p.part.Index
	if index == nil {
		p.found(finding{Kind: findManifest, Detail: "the manifest names no index of the part"})
		return false, nil
	}
	var lines, indexed int64
	spec := p.window.manifest.head.Spec
	whole, err = p.fetch(ctx, p.part.Path, p.part.Bytes, p.part.SHA256, func(from io.Reader) error {
		return eachLine(from, spec, func(line []byte) error {
			lines++
			return fit(spec.Format, line)
		})
	})
	if err != nil || !whole {
		return whole, err
	}
	var rows []jobs.Row
	whole, err = p.fetch(ctx, index.Path, index.Bytes, index.SHA256, func(from io.Reader) error {
		return eachLine(from, spec, func(line []byte) error {
			indexed++
			messages, err := messagesOf(line)
			rows = append(rows, messages...)
			if err == nil {
				p.place(messages[len(messages)-1])
			}
			return err
		})
	})
	if err != nil || !whole {
		return whole, err
	}
	if lines != p.part.Lines || indexed != lines {
		p.found(finding{Kind: findChanged, Detail: fmt.Sprintf("%d lines, %d in the index, the manifest says %d", lines, indexed, p.part.Lines)})
	}
	if len(rows) == 0 {
		return true, nil
	}
	ends := [2]string{rows[0].MessageID, rows[len(rows)-1].MessageID}
	slices.SortStableFunc(rows, func(a, b jobs.Row) int {
		return key{a.GmtCreate, a.MessageID}.compare(key{b.GmtCreate, b.MessageID})
	})
	for _, row := range rows {
		p.row(row)
	}
	p.ends = ends
	return true, nil
}

// eachLine calls each with the lines of a file that is compressed as the spec says.
func eachLine(from io.Reader, spec jobs.ExportSpec, each func(line []byte) error) error {
	plain, closed, err := unpacked(from, spec.Compression)
	if err != nil {
		return err
	}
	defer closed()
	scanner := bufio.NewScanner(plain)
	scanner.Buffer(nil, maxLine)
	for number := 1; scanner.Scan(); number++ {
		if err := each(scanner.Bytes()); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
	}
	return scanner.Err()
}

// messagesOf are the messages that a line of an index names.
func messagesOf(line []byte) ([]jobs.Row, error) {
	var entry jobs.IndexLine
	if err := json.Unmarshal(line, &entry); err != nil {
		return nil, err
	}
	if len(entry.MessageIDs) == 0 || len(entry.MessageIDs) != len(entry.GmtCreate) {
		return nil, fmt.Errorf("%d messages with %d times", len(entry.MessageIDs), len(entry.GmtCreate))
	}
	rows := make([]jobs.Row, len(entry.MessageIDs))
	for i, id := range entry.MessageIDs {
		rows[i] = jobs.Row{MessageID: id, CharacterID: entry.CharacterID, UserID: entry.UserID, GmtCreate: entry.GmtCreate[i]}
	}
	return rows, nil
}

// fit says which rule of its format a dialogue breaks. It follows OpenAI's checks of
// examples of chats, and what ShareGPT's files have in common.
func fit(format string, line []byte) error {
	var example struct {
		Messages []struct {
			Role, Content string
			Weight        *int
		}
		Conversations []struct{ From, Value string }
	}
	if err := json.Unmarshal(line, &example); err != nil {
		return err
	}
	if format == jobs.FormatShareGPT {
		for i, turn := range example.Conversations {
			if turn.From != []string{"human", "gpt"}[i%2] || strings.TrimSpace(turn.Value) == "" {
				return fmt.Errorf("turn %d does not fit those before it", i+1)
			}
		}
		if n := len(example.Conversations); n == 0 || n%2 != 0 {
			return errors.New("the dialogue does not end with an answer")
		}
		return nil
	}
	answered := false
	for i, m := range example.Messages {
		if m.Role != "user" && m.Role != "assistant" || strings.TrimSpace(m.Content) == "" || m.Role == "user" && m.Weight != nil {
			return fmt.Errorf("message %d is none that models are tuned with", i+1)
		}
		answered = m.Role == "assistant" && m.Weight == nil
	}
	if !answered {
		return errors.New("the dialogue does not end with an answer")
	}
	return nil
}
