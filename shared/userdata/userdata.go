package userdata

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"xinghe/shared/jobs"
	"xinghe/shared/sink"
)

// Erased stands where the id of an erased user stood.
const Erased = "[erased]"

// ErrBusy means that jobs of the user wait or run; nothing was erased.
var ErrBusy = errors.New("jobs of the user are under way")

// User names whose data it is.
type User struct {
	// ID upstream, as callers chose it. Required.
	ID string
	// Bot narrows all to what the user has had with one bot, see [jobs.Bot]. Default: any.
	Bot string
}

// Check says what is wrong with an id or a bot.
func (u User) Check() error {
	if u.ID == "" || u.ID == Erased {
		return fmt.Errorf("user id %q: not one", u.ID)
	}
	if _, _, ok := jobs.SplitBot(u.Bot); u.Bot != "" && !ok {
		return fmt.Errorf("bot %q: want one such as character:c39797a3", u.Bot)
	}
	return nil
}

// Config of a [Holder]. Zero values mean the defaults.
type Config struct {
	// Conn is the connection to NATS, which stays the caller's. Required.
	Conn *nats.Conn
	// Sink holds the files. Required.
	Sink sink.Sink
	// Timeout bounds each exchange with NATS. Default 5s.
	Timeout time.Duration
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

// Holder looks after the data of a deployment. It is for one goroutine at a time.
type Holder struct {
	cfg Config
	js  jetstream.JetStream
	// filling is how much overwriting writes to each stream, in bytes.
	filling int64
}

// New returns a holder. It does not touch the network.
func New(cfg Config) (*Holder, error) {
	if cfg.Conn == nil || cfg.Sink == nil {
		return nil, errors.New("user data: Conn and Sink are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	js, err := jetstream.New(cfg.Conn, jetstream.WithDefaultTimeout(cmp.Or(cfg.Timeout, 5*time.Second)))
	if err != nil {
		return nil, fmt.Errorf("user data: %w", err)
	}
	return &Holder{cfg: cfg, js: js, filling: blockSize}, nil
}

// Fate says what becomes of something when the user is erased.
type Fate string

// The fates.
const (
	FateRemoved   Fate = "removed"
	FateRewritten Fate = "rewritten" // it is of others too: what is the user's is taken out
	FateLeft      Fate = "left"      // it is for the operator to change
)

// Count is how much of a kind is held at one place.
type Count struct {
	// Place is "stream <name>", "bucket <name>" or "files".
	Place string `json:"place"`
	// Kind is a type of event, a kind of file, or what the bucket keeps.
	Kind  string `json:"kind"`
	Fate  Fate   `json:"fate"`
	Count int    `json:"count"`
	Bytes int64  `json:"bytes"`
}

// Report says what is held of a user, or was before it was erased.
type Report struct {
	UserID string  `json:"userId"`
	Bot    string  `json:"bot,omitempty"`
	Found  []Count `json:"found"`
	// Files are the paths of the files that are the user's alone.
	Files []string `json:"files"`
	// Busy names jobs of the user that wait or run.
	Busy []string `json:"busy,omitempty"`
	// Left is what is there after Erase: new since it began, or of FateLeft.
	Left []Count `json:"left,omitempty"`
	// Notes say what the user may want to know beside that.
	Notes []string `json:"notes,omitempty"`
}

// add counts an item.
func (r *Report) add(i item) {
	at := slices.IndexFunc(r.Found, func(c Count) bool { return c.Place == i.place && c.Kind == i.kind && c.Fate == i.fate })
	if at < 0 {
		at = len(r.Found)
		r.Found = append(r.Found, Count{Place: i.place, Kind: i.kind, Fate: i.fate})
	}
	r.Found[at].Count++
	r.Found[at].Bytes += i.bytes
	if i.place == placeFiles && i.fate == FateRemoved {
		r.Files = append(r.Files, i.name)
	}
}

// item is one thing that is held.
type item struct {
	place, kind string
	// name is a subject, a key, or a path.
	name  string
	fate  Fate
	bytes int64
	// stream and sequence of a message.
	stream   string
	sequence uint64
	// excerpt is what of it is the user's, as JSON; nil of a file.
	excerpt []byte
}

const placeFiles = "files"

// Find tells what is held, and changes nothing.
func (h *Holder) Find(ctx context.Context, user User) (Report, error) {
	return h.find(ctx, &finder{Holder: h, matcher: newMatcher(user)}, func(item) error { return nil })
}

// find calls each with all that is held.
func (h *Holder) find(ctx context.Context, f *finder, each func(item) error) (Report, error) {
	user := f.user
	report := Report{UserID: user.ID, Bot: user.Bot, Found: []Count{}, Files: []string{}}
	if err := user.Check(); err != nil {
		return report, err
	}
	f.visit = func(i item) error {
		report.add(i)
		return each(i)
	}
	if err := f.look(ctx); err != nil {
		return report, fmt.Errorf("look for the data of a user: %w", err)
	}
	report.Busy, report.Notes = f.busy, f.notes()
	slices.Sort(report.Files)
	slices.SortFunc(report.Found, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Place, b.Place), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Fate, b.Fate))
	})
	return report, nil
}
