package xingchen

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// stateFile is the name of the file in the data folder.
const stateFile = "xingchen.json"

// saveEvery is how often a changed state is written.
const saveEvery = 2 * time.Second

// snapshot is the file. What the server is born with is part of it.
type snapshot struct {
	Version    int                   `json:"version"`
	NextID     uint64                `json:"nextId"`
	NextRoom   int                   `json:"nextRoom"`
	Characters map[string]*character `json:"characters"`
	Rooms      []*room               `json:"rooms"`
	Pictures   map[string]*picture   `json:"pictures"`
	Ratings    map[string]rating     `json:"ratings"`
}

// saver writes the state whenever it has changed: to a file beside the old one, then renamed.
type saver struct {
	server *Server
	path   string
	quit   chan struct{}
	done   chan struct{}
	once   sync.Once
	err    error
}

func openSaver(s *Server, dir string) (*saver, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	sv := &saver{server: s, path: filepath.Join(dir, stateFile), quit: make(chan struct{}), done: make(chan struct{})}
	if err := sv.load(); err != nil {
		return nil, err
	}
	go sv.run()
	return sv, nil
}

func (sv *saver) load() error {
	text, err := os.ReadFile(sv.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the emulator's state: %w", err)
	}
	var kept snapshot
	if err := json.Unmarshal(text, &kept); err != nil {
		return fmt.Errorf("read the emulator's state: %s is damaged, move it away to start anew: %w", sv.path, err)
	}
	if kept.Version != 1 {
		return fmt.Errorf("read the emulator's state: %s has version %d, this program knows 1", sv.path, kept.Version)
	}
	sv.server.restore(kept)
	return nil
}

func (s *Server) restore(kept snapshot) {
	fresh := newState()
	fresh.nextRoom = max(kept.NextRoom, fresh.nextRoom)
	maps.Copy(fresh.characters, kept.Characters)
	maps.Copy(fresh.pictures, kept.Pictures)
	maps.Copy(fresh.ratings, kept.Ratings)
	for _, r := range kept.Rooms {
		if r.Others == nil {
			r.Others = make(map[string][]*message)
		}
		fresh.rooms[roomKey{r.Account, r.CharacterID, r.UserID}] = r
		adopt := func(rows []*message) {
			for _, m := range rows {
				m.room = r
				fresh.messages[m.ID] = m
			}
		}
		adopt(r.Messages)
		for _, rows := range r.Others {
			adopt(rows)
		}
	}
	s.state = fresh
	s.ids.next.Store(kept.NextID)
}

func (sv *saver) run() {
	defer close(sv.done)
	ticker := time.NewTicker(saveEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			// A folder that is full now may have room at the next turn; the last word is close's.
			_ = sv.save()
		case <-sv.quit:
			sv.err = sv.save()
			return
		}
	}
}

func (sv *saver) close() error {
	sv.once.Do(func() { close(sv.quit) })
	<-sv.done
	return sv.err
}

func (sv *saver) save() error {
	text, changed, err := sv.server.freeze()
	if err != nil || !changed {
		return err
	}
	if err := replaceFile(sv.path, text); err != nil {
		sv.server.state.mu.Lock()
		sv.server.state.dirty = true
		sv.server.state.mu.Unlock()
		return fmt.Errorf("save the emulator's state: %w", err)
	}
	return nil
}

func replaceFile(path string, text []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), stateFile+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_, err = file.Write(text)
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// freeze encodes the state and marks it clean; false if it was.
func (s *Server) freeze() ([]byte, bool, error) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if !s.state.dirty {
		return nil, false, nil
	}
	kept := snapshot{
		Version: 1, NextID: s.ids.next.Load(), NextRoom: s.state.nextRoom, Characters: s.state.characters,
		Pictures: s.state.pictures, Ratings: s.state.ratings,
	}
	for _, r := range s.state.rooms {
		kept.Rooms = append(kept.Rooms, r)
	}
	text, err := json.Marshal(kept)
	if err != nil {
		return nil, false, fmt.Errorf("encode the emulator's state: %w", err)
	}
	s.state.dirty = false
	return text, true, nil
}
