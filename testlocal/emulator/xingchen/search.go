package xingchen

import (
	"cmp"
	"slices"
	"strings"
)

type searchRequest struct {
	Where *struct {
		Scope         string   `json:"scope"`
		RoleTypes     []string `json:"roleTypes"`
		CharacterName string   `json:"characterName"`
	} `json:"where"`
	OrderBy  []string `json:"orderBy"`
	PageNum  *int     `json:"pageNum"`
	PageSize *int     `json:"pageSize"`
}

func (s *Server) searchCharacters(c *call) (any, error) {
	var req searchRequest
	if err := decode(c.body, &req); err != nil {
		return nil, err
	}
	if req.Where == nil {
		return nil, errParam.naming("where must not be empty")
	}
	p, err := pageOf(req.PageNum, req.PageSize)
	if err != nil {
		return nil, err
	}
	order, err := characterOrder(req.OrderBy)
	if err != nil {
		return nil, err
	}
	inScope, err := scope(req.Where.Scope, c.account)
	if err != nil {
		return nil, err
	}
	s.state.mu.RLock()
	defer s.state.mu.RUnlock()
	var found []*character
	for _, candidate := range s.allCharacters() {
		if candidate.Deleted || !inScope(candidate) {
			continue
		}
		if candidate.matches(req.Where.CharacterName, req.Where.RoleTypes) {
			found = append(found, candidate)
		}
	}
	slices.SortFunc(found, order)
	var rows []map[string]any
	for _, row := range window(p, found) {
		rows = append(rows, s.object(row, c.account))
	}
	return listOf(p, rows, len(found)), nil
}

func (s *Server) allCharacters() []*character {
	all := make([]*character, 0, len(s.state.characters))
	for _, c := range s.state.characters {
		all = append(all, c)
	}
	return append(all, s.formula.characters()...)
}

func scope(name, account string) (func(*character) bool, error) {
	switch name {
	case "my":
		return func(c *character) bool { return c.Owner == account && !c.PreConfigured }, nil
	case "public":
		return func(c *character) bool { return c.Owner != account && !c.PreConfigured && c.allows(isPublic) }, nil
	case "pre_configured":
		return func(c *character) bool { return c.PreConfigured }, nil
	}
	return nil, errParam.naming("where.scope must be my, public or pre_configured")
}

// matches reports whether the name begins with prefix and the character has one of the role types.
func (c *character) matches(prefix string, roleTypes []string) bool {
	k, err := c.Profile.known()
	if err != nil || !strings.HasPrefix(k.Name, prefix) {
		return false
	}
	return len(roleTypes) == 0 || slices.ContainsFunc(k.RoleTypes, func(role string) bool { return slices.Contains(roleTypes, role) })
}

// characterOrder reads orderBy; without it, the last modified come first. Ties are broken by id.
func characterOrder(orderBy []string) (func(a, b *character) int, error) {
	if len(orderBy) == 0 {
		orderBy = []string{"gmtModified desc"}
	}
	var orders []func(a, b *character) int
	for _, text := range orderBy {
		field, descending, err := orderTerm(text)
		if err != nil {
			return nil, err
		}
		var value func(*character) int64
		switch field {
		case "gmtModified", "modifiedTime":
			value = func(c *character) int64 { return c.Modified }
		case "gmtCreate", "createTime":
			value = func(c *character) int64 { return c.Created }
		default:
			return nil, errParam.naming("orderBy knows gmtModified and gmtCreate, not %q", field)
		}
		orders = append(orders, func(a, b *character) int {
			if descending {
				a, b = b, a
			}
			return cmp.Compare(value(a), value(b))
		})
	}
	return func(a, b *character) int {
		for _, order := range orders {
			if c := order(a, b); c != 0 {
				return c
			}
		}
		return cmp.Compare(a.ID, b.ID)
	}, nil
}

// orderTerm splits "field asc" or "field desc"; a field alone is descending.
func orderTerm(text string) (field string, descending bool, err error) {
	words := strings.Fields(text)
	switch {
	case len(words) == 1:
		return words[0], true, nil
	case len(words) == 2 && strings.EqualFold(words[1], "asc"):
		return words[0], false, nil
	case len(words) == 2 && strings.EqualFold(words[1], "desc"):
		return words[0], true, nil
	}
	return "", false, errParam.naming("orderBy term %q is not \"field asc\" or \"field desc\"", text)
}
