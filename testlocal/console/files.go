package console

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"xinghe/shared/jobs"
)

// headLines is how many lines of a file are shown.
const headLines = 4

func readManifest(place string) (jobs.Manifest, error) {
	var manifest jobs.Manifest
	data, err := os.ReadFile(place)
	if err != nil {
		return manifest, fmt.Errorf("read manifest: %w", err)
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		return manifest, fmt.Errorf("decode manifest: %w", err)
	}
	return manifest, nil
}

// checkPart holds a file against its entry in the manifest and returns its first lines.
func checkPart(place string, part jobs.Part) ([][]byte, error) {
	data, err := os.ReadFile(place)
	if err != nil {
		return nil, fmt.Errorf("read part: %w", err)
	}
	sum := sha256.Sum256(data)
	lines := bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	if got := hex.EncodeToString(sum[:]); got != part.SHA256 || int64(len(lines)) != part.Rows || int64(len(data)) != part.Bytes {
		return nil, fmt.Errorf("%s: %d rows, %d bytes, sha256 %s; the manifest says %d, %d, %s",
			place, len(lines), len(data), got, part.Rows, part.Bytes, part.SHA256)
	}
	return lines[:min(len(lines), headLines)], nil
}
