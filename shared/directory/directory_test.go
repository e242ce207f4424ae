package directory_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"xinghe/shared/directory"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/testlocal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

var noon = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

func setup(t *testing.T) (*directory.Directory, *queue.Queue) {
	t.Helper()
	q, err := queue.New(natstest.New(t).JetStream(), queue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := directory.Open(q)
	if err != nil {
		t.Fatal(err)
	}
	return d, q
}

func seen(t *testing.T, d *directory.Directory, bot, user string, at time.Time) {
	t.Helper()
	if _, err := d.Seen(t.Context(), bot, user, at); err != nil {
		t.Fatal(err)
	}
}

func pairs(t *testing.T, list func(func(jobs.DirectoryEntry, error) bool)) []string {
	t.Helper()
	var names []string
	for entry, err := range list {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, entry.Bot+" "+entry.UserID)
	}
	slices.Sort(names)
	return names
}

func TestListsByBotAndByUser(t *testing.T) {
	t.Parallel()
	d, _ := setup(t)
	if got := pairs(t, d.Users(t.Context(), "character:a")); got != nil {
		t.Errorf("a directory that nobody has written to: %q", got)
	}
	for _, bot := range []string{"character:a", "character:a.b", "beebot:a"} {
		for _, user := range []string{"u", "v", "*"} {
			seen(t, d, bot, user, noon)
		}
	}
	if diff := cmp.Diff([]string{"character:a *", "character:a u", "character:a v"}, pairs(t, d.Users(t.Context(), "character:a"))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"beebot:a *", "character:a *", "character:a.b *"}, pairs(t, d.Bots(t.Context(), "*"))); diff != "" {
		t.Error(diff)
	}
	for range 2 { // the second time there is nothing left to forget
		if err := d.Forget(t.Context(), "character:a", "u"); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"character:a *", "character:a v"}, pairs(t, d.Users(t.Context(), "character:a"))); diff != "" {
		t.Error(diff)
	}
	for _, err := range d.Users(t.Context(), "character:a") {
		if err != nil {
			t.Error(err)
		}
		break
	}
}

func TestSeenByManyAtOnce(t *testing.T) {
	t.Parallel()
	d, _ := setup(t)
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			if _, err := d.Seen(t.Context(), "character:a", "u", noon.Add(time.Duration(i)*10*time.Minute)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for entry, err := range d.Users(t.Context(), "character:a") {
		// The latest time of all is 12:00 + 150 minutes, and LastSeen less than an hour behind.
		if err != nil || !entry.FirstSeen.Equal(noon) || !entry.LastSeen.After(noon.Add(90*time.Minute)) {
			t.Errorf("%+v, %v", entry, err)
		}
	}
}

func TestSeenKeepsUTC(t *testing.T) {
	t.Parallel()
	d, _ := setup(t)
	entry, err := d.Seen(t.Context(), "character:a", "u", noon.In(time.FixedZone("CST", 8*3600)))
	want := jobs.DirectoryEntry{Bot: "character:a", UserID: "u", FirstSeen: noon, LastSeen: noon}
	if err != nil || entry != want {
		t.Errorf("%+v, %v", entry, err)
	}
}

func TestNamesThatCannotBe(t *testing.T) {
	t.Parallel()
	d, _ := setup(t)
	if _, err := d.Seen(t.Context(), "a", "u", noon); !errors.Is(err, queue.ErrInvalid) {
		t.Errorf("Seen: %v", err)
	}
	if err := d.Forget(t.Context(), "a", "u"); err != nil {
		t.Errorf("Forget: %v", err)
	}
	for name, list := range map[string]func(func(jobs.DirectoryEntry, error) bool){
		"Users": d.Users(t.Context(), "*"), "Bots": d.Bots(t.Context(), ""),
	} {
		calls := 0
		for _, err := range list {
			if calls++; !errors.Is(err, queue.ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if calls != 1 {
			t.Errorf("%s: %d errors", name, calls)
		}
	}
}

func TestUnreadableEntryDoesNotHideOthers(t *testing.T) {
	t.Parallel()
	d, q := setup(t)
	seen(t, d, "character:a", "u", noon)
	raw, err := queue.OpenStore[string](q, jobs.BucketDirectory, queue.StoreConfig{})
	if err != nil {
		t.Fatal(err)
	}
	key, _ := jobs.DirectoryKey("character:a", "odd")
	if _, err := raw.Put(t.Context(), key, "no entry"); err != nil {
		t.Fatal(err)
	}
	good, bad := 0, 0
	for _, err := range d.Users(t.Context(), "character:a") {
		if err != nil {
			bad++
			continue
		}
		good++
	}
	if good != 1 || bad != 1 {
		t.Errorf("%d entries and %d errors", good, bad)
	}
}

func TestContextEndsTheList(t *testing.T) {
	t.Parallel()
	d, _ := setup(t)
	seen(t, d, "character:a", "u", noon)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range d.Users(ctx, "character:a") {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	}
}

func Example() {
	srv, stop := natstest.Example()
	defer stop()
	q, err := queue.Open(queue.ConnConfig{Options: srv.Options()}, queue.Config{})
	if err != nil {
		panic(err)
	}
	defer q.Close()
	ctx := context.Background()

	d, err := directory.Open(q)
	if err != nil {
		fmt.Println(err)
		return
	}
	// The directory worker does this for each chat event.
	bot := jobs.Bot(jobs.BotCharacter, "c39797a3")
	if _, err := d.Seen(ctx, bot, "小明", noon); err != nil {
		fmt.Println(err)
		return
	}
	for entry, err := range d.Users(ctx, bot) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(entry.UserID, entry.LastSeen.Format(time.RFC3339))
	}
	// Output: 小明 2024-05-01T12:00:00Z
}
