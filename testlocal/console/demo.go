package console

import (
	"context"
	_ "embed" // the documentation's example of a character
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"xinghe/shared/jobs"
	"xinghe/shared/sse"
	"xinghe/shared/xingchen"
	"xinghe/testlocal/stack"
)

//go:embed character.json
var exampleCharacter []byte

const demoUser = "1234567"

// Demo walks through the system on a running stack. It prints a line "ok <step>" for each
// step, and in the end the exported files with their first lines; an error names the step
// that failed.
func Demo(ctx context.Context, out io.Writer, s *stack.Stack) error {
	d := &demo{out: out, stack: s, client: client{url: s.URL, key: stack.DefaultKey, http: &http.Client{}}}
	defer d.client.http.CloseIdleConnections()
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"character", d.createCharacter},
		{"chat", d.chat},
		{"beebot", d.askRobot},
		{"rating", d.rateAnswer},
		{"image", d.getPicture},
		{"export", d.exportHistory},
	} {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		d.printf("ok %s\n", step.name)
	}
	return d.showFiles()
}

type demo struct {
	out       io.Writer
	stack     *stack.Stack
	client    client
	character string
	answer    string // its messageId
	export    jobs.Export
}

// printf writes for a person; if nobody can be told, the exit code still can.
func (d *demo) printf(format string, args ...any) { _, _ = fmt.Fprintf(d.out, format, args...) }

func (d *demo) createCharacter(ctx context.Context) error {
	var answer struct {
		Data xingchen.CharacterRef `json:"data"`
	}
	err := d.client.call(ctx, http.MethodPost, "/v2/api/character/create", json.RawMessage(exampleCharacter), &answer, http.StatusOK)
	if err == nil && answer.Data.CharacterID == "" {
		err = errors.New("the answer has no characterId")
	}
	d.character = answer.Data.CharacterID
	return err
}

// chat prints the text as it streams: each frame repeats all before it.
func (d *demo) chat(ctx context.Context) error {
	const question = "敢问阁下尊姓大名。"
	request := xingchen.ChatRequest{Input: xingchen.ChatInput{
		Messages: []xingchen.Message{{Role: "user", Content: question}},
		ACA: xingchen.ACA{
			BotProfile:  xingchen.BotProfile{CharacterID: d.character},
			UserProfile: xingchen.UserProfile{UserID: demoUser},
		},
	}}
	d.printf("> %s\n", question)
	var text string
	var stopped bool
	err := d.client.stream(ctx, "/v2/api/chat/send", request, map[string]string{"X-AcA-SSE": "enable"}, func(event sse.Event) error {
		var frame xingchen.ChatResult
		if err := json.Unmarshal(event.Data, &frame); err != nil {
			return err
		}
		d.printf("%s", strings.TrimPrefix(frame.Text(), text))
		text, stopped, d.answer = frame.Text(), frame.Stop, frame.Context.Answer()
		return nil
	})
	d.printf("\n")
	if err == nil && (text == "" || !stopped) {
		err = errors.New("the stream ended without its last frame")
	}
	return err
}

func (d *demo) askRobot(ctx context.Context) error {
	question := map[string]any{"utterance": "你有什么技能?", "senderId": demoUser, "stream": true}
	d.printf("> %s\n", question["utterance"])
	var answered bool
	err := d.client.stream(ctx, "/v1/beebot/"+demoRobot+"/chat", question, nil, func(event sse.Event) error {
		var data struct {
			Text string `json:"text"`
			End  bool   `json:"end"`
		}
		if err := json.Unmarshal(event.Data, &data); err != nil {
			return err
		}
		switch event.Type {
		case "delta":
			d.printf("%s", data.Text)
		case "replace":
			d.printf("\n%s", data.Text)
		case "done":
			answered = data.End && data.Text != ""
		}
		return nil
	})
	d.printf("\n")
	if err == nil && !answered {
		err = errors.New("the stream ended without event:done")
	}
	return err
}

// demoRobot is the emulator's robot.
const demoRobot = "chatbot-cn-local"

func (d *demo) exportHistory(ctx context.Context) error {
	now := time.Now().UTC()
	spec := jobs.ExportSpec{
		Name: "demo", Characters: []string{d.character}, Users: []string{demoUser},
		From: now.Add(-time.Hour), To: now.Add(time.Second),
	}.WithDefaults()
	if err := d.client.call(ctx, http.MethodPost, "/v1/exports", spec, &d.export, http.StatusAccepted); err != nil {
		return err
	}
	if err := d.await(ctx, "/v1/exports/"+d.export.ID, &d.export, func() bool { return d.export.State.Ended() }); err != nil {
		return err
	}
	p := d.export.Progress
	d.printf("%s: %d of %d histories, %d rows, %d requests\n", d.export.State, p.WindowsDone, p.Windows, p.Rows, p.Requests)
	if d.export.State != jobs.StateDone {
		return fmt.Errorf("export %s is %s: %s", d.export.ID, d.export.State, deref(d.export.Error))
	}
	return nil
}

func deref(text *string) string {
	if text == nil {
		return "no reason given"
	}
	return *text
}

// showFiles prints the files that the manifest lists, once they are what it says.
func (d *demo) showFiles() error {
	manifest, err := readManifest(filepath.Join(d.stack.Exports, d.export.Manifest))
	if err != nil {
		return err
	}
	if !manifest.Complete || manifest.Rows == 0 {
		return fmt.Errorf("export: the manifest holds %d rows, complete: %v", manifest.Rows, manifest.Complete)
	}
	for _, part := range manifest.Parts {
		place := filepath.Join(d.stack.Exports, part.Path)
		head, err := checkPart(place, part)
		if err != nil {
			return err
		}
		d.printf("file %s rows=%d sha256=%s\n", place, part.Rows, part.SHA256)
		for _, line := range head {
			d.printf("  %s\n", line)
		}
	}
	return nil
}
