package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

const (
	// keysFileEvery is how often the file is looked at.
	keysFileEvery = time.Second
	maxKeysFile   = 1 << 20
)

// keysFile is the file that keys come from.
type keysFile struct {
	path string
	next atomic.Int64 // when to look again, in nanoseconds of the Unix clock

	mu        sync.Mutex
	text      []byte // what is in force
	seen      []byte // what was read last
	complaint string // stands for what was logged of it; empty if it is in force
}

// KeysFromFile reads keys in the format of [ParseKeys] from a file, and reads it again
// when it changes: it is looked at no more than once a second, while requests come. A
// change that cannot be used leaves the former keys in force and is logged once, as an
// error. What a key that stays has used of its rate stays used.
func KeysFromFile(path string) (*Keys, error) {
	k := &Keys{now: time.Now, file: &keysFile{path: path}}
	if _, err := k.reload(); err != nil {
		return nil, err
	}
	return k, nil
}

// refresh looks at the file if that is due. The one request that finds it so pays for it.
func (k *Keys) refresh(ctx context.Context) {
	now, next := k.now().UnixNano(), k.file.next.Load()
	if now < next || !k.file.next.CompareAndSwap(next, now+int64(keysFileEvery)) || !k.file.mu.TryLock() {
		return
	}
	defer k.file.mu.Unlock()
	changed, err := k.reload()
	switch {
	case err != nil:
		if complaint := err.Error() + digest(k.file.seen); complaint != k.file.complaint {
			k.file.complaint = complaint
			Line(ctx, zerolog.ErrorLevel).Err(err).Msg("keys were not read again; the former ones hold")
		}
		return
	case changed:
		Line(ctx, zerolog.InfoLevel).Int("keys", len(*k.keys.Load())).Msg("keys were read again")
	case k.file.complaint != "":
		Line(ctx, zerolog.InfoLevel).Msg("the keys file is again what it was")
	}
	k.file.complaint = ""
}

// reload compares what the file holds rather than its time, which a second change may
// share with a first that was read half-written.
func (k *Keys) reload() (changed bool, err error) {
	text, err := readKeysFile(k.file.path)
	k.file.seen = text
	if err != nil {
		return false, fmt.Errorf("keys file: %w", err)
	}
	if k.file.text != nil && bytes.Equal(text, k.file.text) {
		return false, nil
	}
	list, err := parseKeys(string(text))
	if err != nil {
		return false, fmt.Errorf("keys file %s: %w", k.file.path, err)
	}
	if former := k.keys.Load(); former != nil {
		inherit(list, *former)
	}
	k.keys.Store(&list)
	k.file.text = text
	return true, nil
}

func readKeysFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxKeysFile+1))
	if err == nil && len(text) > maxKeysFile {
		err = fmt.Errorf("%s is longer than %d bytes", path, maxKeysFile)
	}
	return text, err
}

// inherit hands on what keys have used of their rates.
func inherit(keys, former []*Key) {
	for _, key := range keys {
		for _, old := range former {
			if key.limiter != nil && old.limiter != nil && old.digest == key.digest && old.limiter.Limit() == key.limiter.Limit() {
				key.limiter = old.limiter
			}
		}
	}
}
