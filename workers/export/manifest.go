package export

import (
	"encoding/json"
	"fmt"
	"os"

	"xinghe/shared/jobs"
)

// newManifest sums up the results of all windows, in the order of the plan.
func newManifest(export jobs.Export, results map[int]jobs.WindowResult) jobs.Manifest {
	m := jobs.Manifest{
		Version: 1, ID: export.ID, Spec: export.Spec,
		Parts: []jobs.Part{}, Windows: []jobs.WindowCount{},
	}
	for _, window := range windows(export) {
		result := results[window.Number]
		if result.Error != "" {
			m.Failed = append(m.Failed, jobs.WindowFailure{CharacterID: window.CharacterID, UserID: window.UserID, Reason: result.Error})
			continue
		}
		m.Windows = append(m.Windows, result.Window)
		m.Parts = append(m.Parts, result.Parts...)
		m.Rows += result.Window.Rows
		m.DuplicatesDropped += result.Duplicates
	}
	m.Complete = len(m.Failed) == 0
	return m
}

func writeManifest(root *os.Root, place string, manifest jobs.Manifest) error {
	data, err := json.MarshalIndent(manifest, "", "  ")
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	file, err := create(root, place)
	if err != nil {
		return err
	}
	if _, err := file.Write(append(data, '\n')); err != nil {
		file.abandon()
		return fmt.Errorf("write manifest: %w", err)
	}
	return file.commit()
}
