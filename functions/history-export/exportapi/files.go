package exportapi

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"

	"xinghe/shared/httpapi"
	"xinghe/shared/sink"
)

// file sends a file of an export: its manifest, or a part. The path is that of the manifest,
// or what follows the export's folder in it.
func (a *API) file(w http.ResponseWriter, r *http.Request) error {
	entry, err := a.read(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	asked := r.PathValue("path")
	if !fs.ValidPath(asked) || asked == "." {
		return httpapi.NotFound(fmt.Sprintf("file %q", asked))
	}
	folder := entry.Value.Folder()
	name := path.Join(folder, strings.TrimPrefix(asked, folder+"/"))
	file, err := a.cfg.Sink.Open(r.Context(), name)
	if err != nil {
		return unopened(asked, err)
	}
	defer file.Close()
	w.Header().Set("Content-Type", contentType(name))
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(name)}))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if seeker, ok := file.ReadCloser.(io.ReadSeeker); ok {
		http.ServeContent(w, r, "", file.Modified, seeker) // heeds Range
		return nil
	}
	w.Header().Set("Content-Length", strconv.FormatInt(file.Size, 10))
	if r.Method == http.MethodHead {
		return nil
	}
	// An answer that breaks off is seen by its length.
	if _, err := io.Copy(w, file); err != nil {
		return fmt.Errorf("send file: %w", err)
	}
	return nil
}

func unopened(asked string, err error) error {
	if errors.Is(err, sink.ErrNotFound) || errors.Is(err, sink.ErrInvalid) {
		return httpapi.NotFound(fmt.Sprintf("file %q", asked))
	}
	detail := "the file cannot be read"
	if failed, ok := errors.AsType[*sink.Error](err); ok && failed.Reason != nil {
		detail += ": " + failed.Reason.Error()
	}
	return httpapi.Unavailable(detail, err)
}

// contentType is that of a file as it is stored: what is compressed is sent so, for its
// checksum is that of these bytes.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".jsonl":
		return "application/x-ndjson"
	case ".csv":
		return "text/csv; charset=utf-8"
	case ".json":
		return "application/json"
	case ".parquet":
		return "application/vnd.apache.parquet"
	case ".gz":
		return "application/gzip"
	case ".zst":
		return "application/zstd"
	}
	return "application/octet-stream"
}
