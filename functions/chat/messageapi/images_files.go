package messageapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strconv"

	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/sink"
)

// download gives a file of a picture that is ready, by its number from 1 or its name.
func (i *images) download(w http.ResponseWriter, r *http.Request) error {
	image, err := i.read(r)
	if err != nil {
		return err
	}
	name := r.PathValue("name")
	file, ok := find(image.Files, name)
	if !ok {
		return httpapi.NotFound(fmt.Sprintf("file %q of the picture, which is %s,", name, image.State))
	}
	tag := strconv.Quote(file.SHA256)
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "private, max-age=3600")
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	source, err := i.sink.Open(r.Context(), file.Path)
	if errors.Is(err, sink.ErrNotFound) {
		return httpapi.NotFound("the file of the picture")
	}
	if err != nil {
		return httpapi.Unavailable("the file of the picture cannot be read", err)
	}
	defer func() { _ = source.Close() }()
	w.Header().Set("Content-Type", file.ContentType)
	w.Header().Set("Content-Length", strconv.FormatInt(source.Size, 10))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.Method == http.MethodHead {
		return nil
	}
	if _, err := io.Copy(w, source); err != nil {
		return fmt.Errorf("write the file of the picture: %w", err)
	}
	return nil
}

func find(files []jobs.ImageFile, name string) (jobs.ImageFile, bool) {
	for number, file := range files {
		if name == path.Base(file.Path) || name == strconv.Itoa(number+1) {
			return file, true
		}
	}
	return jobs.ImageFile{}, false
}
