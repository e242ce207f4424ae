package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

func newImageCommand(c *client) *cobra.Command {
	var out string
	var wait bool
	cmd := &cobra.Command{
		Use: "image MESSAGE USER", Short: "Get the picture that belongs to an answer",
		Long: "Get the picture that belongs to the answer MESSAGE, which USER was given. Exit codes: 0 it is there,\n" +
			"or asked for without waiting; 1 there is none; 2 usage.",
		Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out != "" && !wait {
				return usageError(errors.New("--out needs --wait"))
			}
			view := &imageView{out: cmd.OutOrStdout(), human: isTerminal(cmd.OutOrStdout())}
			defer view.close()
			image, err := c.image(cmd.Context(), jobs.ImageRequest{MessageID: args[0], UserID: args[1]}, wait, view)
			switch {
			case err != nil:
				return err
			case image.State == jobs.ImageReady:
				return c.saveImage(cmd.Context(), image, out, view)
			case image.State.Ended():
				return &outcomeError{code: exitFailed}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", true, "wait until it is there, or known that there will be none")
	cmd.Flags().StringVar(&out, "out", "", "file to save it in; a second picture goes to FILE-2, and so on")
	return cmd
}

// image asks for a picture and follows it to its end, if it is to wait.
func (c *client) image(ctx context.Context, wanted jobs.ImageRequest, wait bool, view *imageView) (jobs.Image, error) {
	var image jobs.Image
	body, err := json.Marshal(wanted)
	if err != nil {
		return image, fmt.Errorf("encode the request: %w", err)
	}
	ask := request{method: http.MethodPost, path: "/v1/images", body: body} // which may be repeated: a message is one job
	for {
		document, err := c.insist(ctx, ask, &image)
		if err != nil {
			return image, err
		}
		if err := view.show(image, document); err != nil || image.State.Ended() || !wait {
			return image, err
		}
		if err := queue.Pause(ctx, lookEvery); err != nil {
			return image, err
		}
		image = jobs.Image{}
		ask = request{method: http.MethodGet, path: imagePath(wanted.MessageID)}
	}
}

// insist is [client.call] for what may be repeated: it is, as long as that may help.
func (c *client) insist(ctx context.Context, r request, answer any) ([]byte, error) {
	for try := 1; ; try++ {
		document, err := c.call(ctx, r, answer)
		no, refused := errors.AsType[*refusal](err)
		_, wrong := errors.AsType[*outcomeError](err)
		if err == nil || wrong || try >= sendTries || refused && !no.temporary() {
			return document, err
		}
		wait := c.backoff(try)
		if refused {
			wait = max(wait, no.retryAfter)
		}
		if err := queue.Pause(ctx, wait); err != nil {
			return nil, err
		}
	}
}

func imagePath(message string) string { return "/v1/images/" + url.PathEscape(message) }

// saveImage writes the files of a picture, each whole or not at all.
func (c *client) saveImage(ctx context.Context, image jobs.Image, out string, view *imageView) error {
	if out == "" {
		return nil
	}
	for i, file := range image.Files {
		content, err := c.insist(ctx, request{method: http.MethodGet, path: fmt.Sprintf("%s/files/%d", imagePath(image.MessageID), i+1)}, nil)
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != file.SHA256 {
			return fmt.Errorf("what came for %s is not that file", file.Path)
		}
		place := numbered(out, i)
		if err := writeWhole(place, content); err != nil {
			return fmt.Errorf("save the picture: %w", err)
		}
		view.saved(place, file)
	}
	return nil
}

// numbered is the name of the file with that index: out, out-2 and so on.
func numbered(out string, index int) string {
	if index == 0 {
		return out
	}
	extension := filepath.Ext(out)
	return fmt.Sprintf("%s-%d%s", strings.TrimSuffix(out, extension), index+1, extension)
}

func writeWhole(place string, content []byte) error {
	draft, err := os.CreateTemp(filepath.Dir(place), "."+filepath.Base(place)+".*")
	if err != nil {
		return err
	}
	_, err = draft.Write(content)
	err = errors.Join(err, draft.Close())
	if err == nil {
		err = os.Rename(draft.Name(), place)
	}
	if err != nil {
		return errors.Join(err, os.Remove(draft.Name()))
	}
	return nil
}

// imageView shows how a picture gets on: a spinner and a sentence for humans, a line of JSON
// for each change for programs.
type imageView struct {
	out   io.Writer
	human bool
	bar   *progressbar.ProgressBar
	last  jobs.ImageState
}

func (v *imageView) show(image jobs.Image, document []byte) error {
	changed := image.State != v.last
	v.last = image.State
	switch {
	case !v.human && changed:
		return writeLine(v.out, document)
	case !v.human:
		return nil
	case image.State.Ended():
		v.close()
		return v.conclude(image)
	}
	if v.bar == nil {
		v.bar = progressbar.NewOptions(-1, progressbar.OptionSetWriter(v.out), progressbar.OptionClearOnFinish(), progressbar.OptionSetElapsedTime(false))
	}
	v.bar.Describe(fmt.Sprintf("picture of message %s  %s", image.MessageID, time.Since(image.RequestedAt).Round(time.Second)))
	return v.bar.Add(1)
}

func (v *imageView) conclude(image jobs.Image) error {
	var text strings.Builder
	fmt.Fprintf(&text, "picture of message %s %s\n", image.MessageID, image.State)
	if image.Error != nil {
		text.WriteString(*image.Error + "\n")
	}
	for _, file := range image.Files {
		fmt.Fprintf(&text, "%s  %s  %s\n", file.Path, file.ContentType, size(file.Bytes))
	}
	_, err := io.WriteString(v.out, text.String())
	return err
}

// saved tells humans where a file is; programs have chosen the name themselves.
func (v *imageView) saved(place string, file jobs.ImageFile) {
	if v.human {
		_, _ = fmt.Fprintf(v.out, "saved %s (%s)\n", place, size(file.Bytes))
	}
}

// close leaves the terminal in order.
func (v *imageView) close() {
	if v.bar != nil {
		_ = v.bar.Clear()
		v.bar = nil
	}
}
