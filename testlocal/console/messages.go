package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"xinghe/shared/jobs"
	"xinghe/shared/xingchen"
)

const (
	// demoPainter is a character of the emulator's that sends pictures.
	demoPainter = "c39797a35ad243f1a85baaa6e1ec37e0"
	// demoPatience is how long a job may take.
	demoPatience = time.Minute
)

// await asks for a job's state until it has ended.
func (d *demo) await(ctx context.Context, path string, state any, ended func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !ended() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s has not ended: %w", path, ctx.Err())
		}
		if err := d.client.call(ctx, http.MethodGet, path, nil, state, http.StatusOK); err != nil {
			return err
		}
	}
	return nil
}

// rateAnswer rates what the character has said.
func (d *demo) rateAnswer(ctx context.Context) error {
	if d.answer == "" {
		return errors.New("the chat named no messageId")
	}
	var state jobs.RatingState
	ratings := []map[string]any{{"messageId": d.answer, "rating": 5}}
	if err := d.client.call(ctx, http.MethodPost, "/v1/ratings", ratings, &state, http.StatusAccepted); err != nil {
		return err
	}
	if err := d.await(ctx, "/v1/ratings/"+state.ID, &state, func() bool { return state.State == jobs.StateDone }); err != nil {
		return err
	}
	if state.Applied != 1 || len(state.Failed) > 0 {
		return fmt.Errorf("job %s: %d ratings applied, %d failed", state.ID, state.Applied, len(state.Failed))
	}
	d.printf("message %s rated 5\n", d.answer)
	return nil
}

// getPicture asks a character for a picture, and then for the file.
func (d *demo) getPicture(ctx context.Context) error {
	const question = "给我画一张星空"
	request := xingchen.ChatRequest{Input: xingchen.ChatInput{
		Messages: []xingchen.Message{{Role: "user", Content: question}},
		ACA: xingchen.ACA{
			BotProfile:  xingchen.BotProfile{CharacterID: demoPainter},
			UserProfile: xingchen.UserProfile{UserID: demoUser},
		},
	}}
	d.printf("> %s\n", question)
	var answer struct {
		Data xingchen.ChatResult `json:"data"`
	}
	if err := d.client.call(ctx, http.MethodPost, "/v2/api/chat/send", request, &answer, http.StatusOK); err != nil {
		return err
	}
	d.printf("%s\n", answer.Data.Text())
	image := jobs.Image{}
	wanted := jobs.ImageRequest{MessageID: answer.Data.Context.Answer(), UserID: demoUser}
	if err := d.client.call(ctx, http.MethodPost, "/v1/images", wanted, &image, http.StatusAccepted); err != nil {
		return err
	}
	path := "/v1/images/" + wanted.MessageID
	if err := d.await(ctx, path, &image, func() bool { return image.State.Ended() }); err != nil {
		return err
	}
	if image.State != jobs.ImageReady || len(image.Files) == 0 {
		return fmt.Errorf("the picture of message %s is %s: %s", image.MessageID, image.State, deref(image.Error))
	}
	return d.checkPicture(ctx, path+"/files/1", image.Files[0])
}

// checkPicture holds a file against what is said of it.
func (d *demo) checkPicture(ctx context.Context, path string, file jobs.ImageFile) error {
	resp, err := d.client.send(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	sum := sha256.Sum256(data)
	if resp.StatusCode != http.StatusOK || hex.EncodeToString(sum[:]) != file.SHA256 {
		return fmt.Errorf("GET %s: %s, %d bytes that are not the picture: %s", path, resp.Status, len(data), bytes.TrimSpace(data[:min(len(data), 200)]))
	}
	d.printf("%s: %s, %d bytes\n", file.Path, file.ContentType, file.Bytes)
	return nil
}
