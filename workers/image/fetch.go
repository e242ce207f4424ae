package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strconv"
	"time"

	"github.com/gabriel-vasile/mimetype"

	"xinghe/shared/egress"
	"xinghe/shared/jobs"
)

const (
	// fileTimeout bounds fetching and storing one file.
	fileTimeout = 2 * time.Minute
	// headBytes is what the type of a file is told by.
	headBytes = 3072
)

// extensions of the types that are taken.
var extensions = map[string]string{"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/gif": ".gif"}

// errExpired says that an address does not give its file any more.
var errExpired = errors.New("the address has expired")

// fetch stores the files of a picture. A file that was stored before is replaced by itself.
func (w *Worker) fetch(ctx context.Context, job jobs.ImageJob, addresses []string) ([]jobs.ImageFile, error) {
	files := make([]jobs.ImageFile, 0, len(addresses))
	for i, address := range addresses {
		file, err := w.fetchFile(ctx, path.Join(folder(job), strconv.Itoa(i+1)), address)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

func (w *Worker) fetchFile(ctx context.Context, name, address string) (jobs.ImageFile, error) {
	ctx, cancel := context.WithTimeout(ctx, fileTimeout)
	defer cancel()
	if err := w.egress.Check(address); err != nil {
		return jobs.ImageFile{}, unfetched(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return jobs.ImageFile{}, failed("the address of the picture is none")
	}
	resp, err := w.egress.Do(req)
	if err != nil {
		return jobs.ImageFile{}, unfetched(err)
	}
	defer resp.Body.Close()
	switch status := resp.StatusCode; {
	case status == http.StatusOK:
	case status == http.StatusForbidden, status == http.StatusNotFound, status == http.StatusGone:
		return jobs.ImageFile{}, fmt.Errorf("fetch picture: %w: status %d", errExpired, status)
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests, status >= http.StatusInternalServerError:
		return jobs.ImageFile{}, fmt.Errorf("fetch picture: status %d", status)
	default:
		return jobs.ImageFile{}, failed("the address of the picture answers with status %d", status)
	}
	return w.store(ctx, name, resp.Body)
}

// unfetched sorts why there was no answer, or not the whole of it: what the guard refuses
// and what is too large stays so.
func unfetched(err error) error {
	if errors.Is(err, egress.ErrTooLarge) || errors.As(err, new(*egress.RefusedError)) {
		return failed("fetch picture: %v", err)
	}
	return fmt.Errorf("fetch picture: %w", err)
}

// store writes a file whole or not at all. Its type is told by what is in it: what a header
// says is not asked.
func (w *Worker) store(ctx context.Context, name string, body io.Reader) (jobs.ImageFile, error) {
	source := &reading{Reader: body}
	head := make([]byte, headBytes)
	n, err := io.ReadFull(source, head)
	switch {
	case source.err != nil:
		return jobs.ImageFile{}, unfetched(source.err)
	case n == 0:
		return jobs.ImageFile{}, fmt.Errorf("fetch picture: it is empty: %w", err)
	}
	kind, extension, err := typeOf(head[:n])
	if err != nil {
		return jobs.ImageFile{}, err
	}
	file := jobs.ImageFile{Path: name + extension, ContentType: kind}
	to, err := w.cfg.Sink.Create(ctx, file.Path)
	if err != nil {
		return jobs.ImageFile{}, err
	}
	defer to.Abort()
	digest := sha256.New()
	file.Bytes, err = io.Copy(io.MultiWriter(to, digest), io.MultiReader(bytes.NewReader(head[:n]), source))
	switch {
	case source.err != nil:
		return jobs.ImageFile{}, unfetched(source.err)
	case err != nil:
		return jobs.ImageFile{}, err
	}
	file.SHA256 = hex.EncodeToString(digest.Sum(nil))
	return file, to.Commit()
}

// reading notes by what a reader failed, to tell that from a writer's failure, and an answer
// that broke off from one that is short.
type reading struct {
	io.Reader
	err error
}

func (r *reading) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// typeOf tells a file's type by its first bytes. A type that is a kind of one that is taken,
// as an animated PNG is, counts as that.
func typeOf(head []byte) (kind, extension string, err error) {
	found := mimetype.Detect(head)
	for m := found; m != nil; m = m.Parent() {
		if extension, ok := extensions[m.String()]; ok {
			return m.String(), extension, nil
		}
	}
	return "", "", failed("what the address of the picture gives is %s and not PNG, JPEG, WebP or GIF", found)
}
