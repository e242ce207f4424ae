package xingchen

import (
	"strings"
)

type created struct {
	CharacterID string `json:"characterId"`
	Version     int    `json:"version"`
}

func (s *Server) createCharacter(c *call) (any, error) {
	written, k, err := s.readProfile(c.account, c.body, nil)
	if err != nil {
		return nil, err
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if s.taken(c.account, k.Name, "") {
		return nil, errDuplicate.naming("name %s", k.Name)
	}
	now := s.cfg.Now().UnixMilli()
	fresh := &character{
		ID: s.ids.hex(), Owner: c.account, Version: s.cfg.Assume.FirstVersion, Profile: written, Created: now, Modified: now,
	}
	s.state.characters[fresh.ID] = fresh
	s.state.dirty = true
	return created{CharacterID: fresh.ID, Version: fresh.Version}, nil
}

// taken reports whether another character of the account has the name. The caller holds the lock.
func (s *Server) taken(account, name, except string) bool {
	for id, other := range s.state.characters {
		if id == except || other.Deleted || other.Owner != account {
			continue
		}
		if k, err := other.Profile.known(); err == nil && strings.TrimSpace(k.Name) == strings.TrimSpace(name) {
			return true
		}
	}
	return false
}

type characterRef struct {
	CharacterID string `json:"characterId"`
	Version     *int   `json:"version"`
}

func (s *Server) updateCharacter(c *call) (any, error) {
	var ref characterRef
	if err := decode(c.body, &ref); err != nil {
		return nil, err
	}
	if ref.CharacterID == "" {
		return nil, errParam.naming("characterId must not be empty")
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	found, err := s.owned(c.account, ref.CharacterID)
	if err != nil {
		return nil, err
	}
	view, err := found.at(ref.Version)
	if err != nil {
		return nil, err
	}
	written, k, err := s.readProfile(c.account, c.body, view.Profile)
	if err != nil {
		return nil, err
	}
	if s.taken(c.account, k.Name, found.ID) {
		return nil, errDuplicate.naming("name %s", k.Name)
	}
	s.state.characters[found.ID] = found.with(view.Version, written, s.cfg.Now().UnixMilli())
	s.state.dirty = true
	return true, nil
}

func (s *Server) characterDetails(c *call) (any, error) {
	query := c.r.URL.Query()
	version, err := optionalInt("version", query.Get("version"))
	if err != nil {
		return nil, err
	}
	ref := characterRef{CharacterID: query.Get("characterId"), Version: &version}
	if ref.CharacterID == "" {
		return nil, errParam.naming("characterId must not be empty")
	}
	s.state.mu.RLock()
	defer s.state.mu.RUnlock()
	found, err := s.find(ref.CharacterID)
	if err != nil {
		return nil, err
	}
	if found.Owner != c.account && !found.PreConfigured && !found.allows(isPublic) {
		return nil, errPermission
	}
	view, err := found.at(ref.Version)
	if err != nil {
		return nil, err
	}
	return s.object(view, c.account), nil
}

// deleteCharacter deletes logically: histories stay readable. With a version that version alone is deleted, if there are
// others. The id may stand in the body or in the query.
func (s *Server) deleteCharacter(c *call) (any, error) {
	query := c.r.URL.Query()
	version, err := optionalInt("version", query.Get("version"))
	if err != nil {
		return nil, err
	}
	ref := characterRef{CharacterID: query.Get("characterId"), Version: &version}
	if len(c.body) > 0 {
		if err := decode(c.body, &ref); err != nil {
			return nil, err
		}
	}
	if ref.CharacterID == "" {
		return nil, errParam.naming("characterId must not be empty")
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	found, err := s.owned(c.account, ref.CharacterID)
	if err != nil {
		return nil, err
	}
	view, err := found.at(ref.Version)
	if err != nil {
		return nil, err
	}
	s.state.dirty = true
	if ref.Version != nil && *ref.Version != 0 {
		if rest := found.without(view.Version); rest != nil {
			s.state.characters[found.ID] = rest
			return true, nil
		}
	}
	gone := *found
	gone.Deleted, gone.Modified = true, s.cfg.Now().UnixMilli()
	s.state.characters[found.ID] = &gone
	return true, nil
}
