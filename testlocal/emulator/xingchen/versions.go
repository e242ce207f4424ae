package xingchen

import (
	"maps"
	"slices"
)

// edition is a version of a character that is not its current one.
type edition struct {
	Profile  profile `json:"profile"`
	Created  int64   `json:"created"`
	Modified int64   `json:"modified"`
}

// at is the character as one of its versions has it; nil or 0 is the current one. Who may do what with it is not a
// matter of versions.
func (c *character) at(version *int) (*character, error) {
	if version == nil || *version == 0 || *version == c.Version {
		return c, nil
	}
	old, known := c.Editions[*version]
	if !known {
		return nil, errNotFound.naming("version %d of character %s", *version, c.ID)
	}
	view := *c
	view.Version, view.current = *version, c.Version
	view.Profile, view.Created, view.Modified = c.permitting(old.Profile), old.Created, old.Modified
	return &view, nil
}

// permitting is a profile with the permissions of the current one.
func (c *character) permitting(p profile) profile {
	p = maps.Clone(p)
	delete(p, permConfig)
	if permissions, known := c.Profile[permConfig]; known {
		p[permConfig] = permissions
	}
	return p
}

const permConfig = "permConfig"

// major is the current version.
func (c *character) major() int {
	if c.current != 0 {
		return c.current
	}
	return c.Version
}

// versions are the numbers of all, ascending.
func (c *character) versions() []int {
	all := slices.Collect(maps.Keys(c.Editions))
	if !slices.Contains(all, c.major()) {
		all = append(all, c.major())
	}
	slices.Sort(all)
	return all
}

// with is the character with another text of one of its versions, which may be new.
func (c *character) with(version int, written profile, now int64) *character {
	changed := *c
	if version == c.Version {
		changed.Profile, changed.Modified = written, now
		return &changed
	}
	fresh := edition{Profile: written, Created: now, Modified: now}
	if old, known := c.Editions[version]; known {
		fresh.Created = old.Created
	}
	changed.Editions = maps.Clone(c.Editions)
	if changed.Editions == nil {
		changed.Editions = map[int]edition{}
	}
	changed.Editions[version] = fresh
	return &changed
}

// turned is the character with another of its versions as the current one.
func (c *character) turned(version int) *character {
	next, known := c.Editions[version]
	if !known {
		return c
	}
	changed := *c
	changed.Editions = maps.Clone(c.Editions)
	delete(changed.Editions, version)
	changed.Editions[c.Version] = edition{Profile: c.Profile, Created: c.Created, Modified: c.Modified}
	changed.Version, changed.Profile, changed.Modified = version, c.permitting(next.Profile), next.Modified
	return &changed
}

// without is the character without one of its versions; of the current one the newest other takes the place. It is nil if
// none is left.
func (c *character) without(version int) *character {
	if version == c.Version {
		others := slices.DeleteFunc(c.versions(), func(v int) bool { return v == version })
		if len(others) == 0 {
			return nil
		}
		c = c.turned(others[len(others)-1])
	}
	changed := *c
	changed.Editions = maps.Clone(c.Editions)
	delete(changed.Editions, version)
	return &changed
}

// putVersion answers character/createOrUpdateVersion. A version that is new becomes the current one.
func (s *Server) putVersion(c *call) (any, error) {
	var ref characterRef
	if err := decode(c.body, &ref); err != nil {
		return nil, err
	}
	if ref.CharacterID == "" {
		return nil, errParam.naming("characterId must not be empty")
	}
	if ref.Version == nil || *ref.Version < 1 {
		return nil, errParam.naming("version must be at least 1")
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	found, err := s.versioned(c.account, ref.CharacterID)
	if err != nil {
		return nil, err
	}
	var base profile
	if old, err := found.at(ref.Version); err == nil {
		base = old.Profile
	}
	written, k, err := s.readProfile(c.account, c.body, base)
	if err != nil {
		return nil, err
	}
	if s.taken(c.account, k.Name, found.ID) {
		return nil, errDuplicate.naming("name %s", k.Name)
	}
	written = found.permitting(written)
	changed := found.with(*ref.Version, written, s.cfg.Now().UnixMilli())
	if base == nil && !s.cfg.Assume.VersionStaysBehind {
		changed = changed.turned(*ref.Version)
	}
	s.state.characters[found.ID] = changed
	s.state.dirty = true
	view, err := changed.at(ref.Version)
	if err != nil {
		return nil, err
	}
	return s.object(view, c.account), nil
}

// versioned is a character whose versions the account may change. The caller holds the lock.
func (s *Server) versioned(account, id string) (*character, error) {
	found, err := s.find(id)
	if err != nil {
		return nil, err
	}
	if found.Owner != account || found.PreConfigured || s.formula.character(id) != nil {
		return nil, errVersion
	}
	return found, nil
}

// listVersions answers character/versions/{characterId}, the newest first.
func (s *Server) listVersions(c *call) (any, error) {
	s.state.mu.RLock()
	defer s.state.mu.RUnlock()
	found, err := s.find(c.id)
	if err != nil {
		return nil, err
	}
	if found.Owner != c.account && !found.PreConfigured && !found.allows(isPublic) {
		return nil, errPermission
	}
	list := []map[string]any{}
	for _, version := range slices.Backward(found.versions()) {
		view, err := found.at(&version)
		if err != nil {
			return nil, err
		}
		list = append(list, s.object(view, c.account))
	}
	return list, nil
}

// recommendVersion answers character/newversion/recommend/{characterId}: the current version under the next number. It
// stores nothing.
func (s *Server) recommendVersion(c *call) (any, error) {
	s.state.mu.RLock()
	defer s.state.mu.RUnlock()
	found, err := s.versioned(c.account, c.id)
	if err != nil {
		return nil, err
	}
	versions := found.versions()
	object := s.object(found, c.account)
	object["version"] = versions[len(versions)-1] + 1
	return object, nil
}
