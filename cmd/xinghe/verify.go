package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"xinghe/shared/jobs"
)

// finding is something that is not as the manifest says.
type finding struct {
	// Kind is one of the words below.
	Kind        string `json:"finding"`
	Part        string `json:"part,omitempty"`
	CharacterID string `json:"characterId,omitempty"`
	UserID      string `json:"userId,omitempty"`
	MessageID   string `json:"messageId,omitempty"`
	Detail      string `json:"detail"`
}

// The kinds of findings.
const (
	findMissing  = "missing"  // a part is not there
	findChanged  = "changed"  // a part, or an earlier manifest, is not what it was
	findDouble   = "double"   // a message stands twice
	findOrder    = "order"    // a message stands behind later ones
	findForeign  = "foreign"  // a message is not of its window, or not of its part's partition
	findGap      = "gap"      // messages are missing
	findManifest = "manifest" // the manifest contradicts itself
)

// summary is what a verification says at its end.
type summary struct {
	ID       string `json:"id"`
	Complete bool   `json:"complete"`
	Parts    int    `json:"parts"`
	Windows  int    `json:"windows"`
	Rows     int64  `json:"rows"`
	Erased   int64  `json:"erasedRows,omitempty"` // of users whose data were erased
	Upstream bool   `json:"upstream"`
	Findings int    `json:"findings"`
	SHA256   string `json:"manifestSha256"`
}

func newVerifyCommand(c *client) *cobra.Command {
	var upstream bool
	cmd := &cobra.Command{
		Use: "verify ID", Short: "Read the files of an export again and compare them with its manifest", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := c.fetchManifest(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer m.close()
			v := &verifier{
				client: c, id: args[0], manifest: m, report: newReport(cmd.OutOrStdout(), m.head.Rows),
				summary: summary{ID: args[0], Complete: m.head.Complete, Upstream: upstream, SHA256: m.sha256},
			}
			for _, e := range m.erased {
				v.summary.Erased += e.Rows
			}
			if err := v.verify(cmd.Context()); err != nil {
				return err
			}
			return v.conclude()
		},
	}
	cmd.Flags().BoolVar(&upstream, "upstream", false, "also compare with what upstream counts now (scope message:read)")
	return cmd
}

// verifier compares an export with its manifest. It holds one part's keys at most.
type verifier struct {
	client   *client
	id       string
	manifest *manifest
	report   report
	summary  summary
	zone     *time.Location // of partitions
}

func (v *verifier) found(f finding) error {
	v.summary.Findings++
	return v.report.finding(f)
}

// conclude says what came of it, also by the exit code.
func (v *verifier) conclude() error {
	if err := v.report.conclude(v.summary); err != nil {
		return err
	}
	switch {
	case v.summary.Findings > 0:
		return &outcomeError{code: exitFailed}
	case !v.summary.Complete:
		return &outcomeError{code: exitPartial}
	}
	return nil
}

// verify goes through the windows and their parts, both of which come by the windows' numbers.
func (v *verifier) verify(ctx context.Context) error {
	defer v.report.close()
	if v.manifest.head.ID != v.id {
		if err := v.contradiction("it is that of export %q", v.manifest.head.ID); err != nil {
			return err
		}
	}
	zone, err := v.manifest.head.Spec.Partition.Zone()
	if err != nil {
		return fmt.Errorf("partitions of the manifest: %w", err)
	}
	v.zone = zone
	parts := newCursor[jobs.Part](v.manifest, "parts")
	defer parts.stop()
	windows := newCursor[jobs.WindowCount](v.manifest, "windows")
	defer windows.stop()
	if err := errors.Join(parts.advance(), windows.advance()); err != nil {
		return err
	}
	for last := -1; parts.more || windows.more; {
		w := &windowCheck{verifier: v, number: parts.value.Window} // of a window that was given up
		if windows.more && (!parts.more || windows.value.Number <= parts.value.Window) {
			complete := windows.value
			w.number, w.complete = complete.Number, &complete
			if err := windows.advance(); err != nil {
				return err
			}
		}
		if w.number <= last {
			return v.contradiction("its lists are not in the order of windows: %d stands behind %d; the rest was not read", w.number, last)
		}
		last = w.number
		if err := w.check(ctx, parts); err != nil {
			return err
		}
	}
	return v.total(ctx)
}

// contradiction notes that the manifest cannot be right.
func (v *verifier) contradiction(detail string, args ...any) error {
	return v.found(finding{Kind: findManifest, Detail: fmt.Sprintf(detail, args...)})
}

// cursor is a list of the manifest at one of its entries.
type cursor[T any] struct {
	value T
	more  bool // value is one of the list
	next  func() (T, error, bool)
	stop  func()
}

func newCursor[T any](m *manifest, list string) *cursor[T] {
	c := &cursor[T]{}
	c.next, c.stop = iter.Pull2(entries[T](m, list))
	return c
}

func (c *cursor[T]) advance() (err error) {
	c.value, err, c.more = c.next()
	return err
}

// total compares sums, and the manifest that this one refers to.
func (v *verifier) total(ctx context.Context) error {
	if asked, known := v.manifest.planned(); known && asked != v.summary.Windows {
		if err := v.contradiction("its spec asks for %d windows, there are %d", asked, v.summary.Windows); err != nil {
			return err
		}
	}
	if head := v.manifest.head; head.Rows != v.summary.Rows && v.summary.Findings == 0 {
		if err := v.contradiction("it says %d rows, its parts have %d", head.Rows, v.summary.Rows); err != nil {
			return err
		}
	}
	previous := v.manifest.head.Previous
	if previous == nil {
		return nil
	}
	sum := sha256.New()
	err := v.client.patiently(ctx, func() error {
		sum.Reset()
		return v.client.download(ctx, previous.ID, "manifest.json", sum)
	})
	if no, ok := errors.AsType[*refusal](err); ok && no.status == http.StatusNotFound {
		return nil // old exports may be deleted
	}
	if err != nil {
		return fmt.Errorf("read the manifest of %s: %w", previous.ID, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != previous.SHA256 {
		return v.found(finding{Kind: findChanged, Detail: fmt.Sprintf("the manifest of the run before, %s, has SHA-256 %s, and had %s", previous.ID, got, previous.SHA256)})
	}
	return nil
}

// count asks how many messages upstream has in a window by now. It follows Xingchen HTTP
// API, history query.
func (c *client) count(ctx context.Context, w jobs.WindowCount) (int64, error) {
	body, err := json.Marshal(map[string]any{
		"where": map[string]any{
			"characterId": w.CharacterID, "bizUserId": w.UserID,
			// Upstream includes both ends, our ranges exclude the second.
			"startTime": ceilMillis(w.From), "endTime": ceilMillis(w.To) - 1,
		},
		"pageNum": 1, "pageSize": 1,
	})
	if err != nil {
		return 0, err
	}
	var answer struct{ Data struct{ Total int64 } }
	err = c.patiently(ctx, func() error {
		_, err := c.call(ctx, request{method: http.MethodPost, path: "/v2/api/chat/message/histories", body: body}, &answer)
		return err
	})
	return answer.Data.Total, err
}

// hashed reads through a checksum.
type hashed struct {
	from  io.Reader
	sum   io.Writer
	count int64
}

func (h *hashed) Read(p []byte) (int, error) {
	n, err := h.from.Read(p)
	_, _ = h.sum.Write(p[:n]) // a hash takes everything
	h.count += int64(n)
	return n, err
}
