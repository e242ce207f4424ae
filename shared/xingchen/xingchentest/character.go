package xingchentest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"xinghe/shared/upstream"
	"xinghe/shared/xingchen"
)

// character is one whose name no other run uses; names have at most 20 characters.
func (s *session) character(name string) xingchen.CharacterSpec {
	return xingchen.CharacterSpec{
		Name:             name + "-" + s.run,
		Introduction:     "用来核对接口的角色",
		BasicInformation: "你是一位耐心的图书管理员,喜欢安静,也喜欢讲故事。",
		OpeningLine:      "你好,今天想读点什么?",
		Traits:           "说话温和",
		ChatExample:      "{{user}}:你好\n{{char}}:你好,请小声一点。",
		PermConfig:       &xingchen.PermConfig{},
	}
}

func keepsACharacterUntilItIsDeleted(ctx context.Context, s *session) (err error) {
	spec := s.character("life")
	ref, err := s.Client.CreateCharacter(ctx, spec)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	deleted := false
	defer func() {
		if !deleted {
			err = errors.Join(err, s.discard(ctx, ref.CharacterID))
		}
	}()
	var found findings
	found.expect(ref.CharacterID != "", "create: no characterId")
	found.stored(ctx, s, ref.CharacterID, spec, "after create")

	spec.Introduction, spec.OpeningLine = "改过一次的角色", "又见面了。"
	if err := s.Client.UpdateCharacter(ctx, xingchen.CharacterUpdate{CharacterRef: ref, CharacterSpec: spec}); err != nil {
		return errors.Join(found.err(), fmt.Errorf("update: %w", err))
	}
	found.stored(ctx, s, ref.CharacterID, spec, "after update")
	found.listed(ctx, s, spec.Name, ref.CharacterID, true)

	if err := s.Client.DeleteCharacter(ctx, xingchen.CharacterRef{CharacterID: ref.CharacterID}); err != nil {
		return errors.Join(found.err(), fmt.Errorf("delete: %w", err))
	}
	deleted = true
	_, err = s.Client.CharacterDetails(ctx, xingchen.CharacterRef{CharacterID: ref.CharacterID})
	_, refused := errors.AsType[*xingchen.Error](err)
	found.expect(refused, "details after delete: got %w, want an error of the service", orNone(err))
	found.listed(ctx, s, spec.Name, ref.CharacterID, false)
	return found.err()
}

// stored compares what details show with what was sent.
func (f *findings) stored(ctx context.Context, s *session, id string, want xingchen.CharacterSpec, when string) {
	got, err := s.Client.CharacterDetails(ctx, xingchen.CharacterRef{CharacterID: id})
	if err != nil {
		f.expect(false, "details %s: %w", when, err)
		return
	}
	f.expect(got.CharacterID == id, "details %s: characterId %q, want %q", when, got.CharacterID, id)
	for _, field := range []struct{ name, got, want string }{
		{"name", got.Name, want.Name},
		{"introduction", got.Introduction, want.Introduction},
		{"basicInformation", got.BasicInformation, want.BasicInformation},
		{"openingLine", got.OpeningLine, want.OpeningLine},
		{"traits", got.Traits, want.Traits},
		{"chatExample", got.ChatExample, want.ChatExample},
	} {
		f.expect(field.got == field.want, "details %s: %s %q, want %q", when, field.name, field.got, field.want)
	}
}

// listed looks for a character among the account's own whose name begins with a text.
func (f *findings) listed(ctx context.Context, s *session, name, id string, want bool) {
	page, err := s.Client.SearchCharacters(ctx, xingchen.CharacterQuery{
		Where: xingchen.CharacterWhere{Scope: "my", CharacterName: name}, OrderBy: []string{"gmtModified desc"}, PageNum: 1, PageSize: 10,
	})
	if err != nil {
		f.expect(false, "search: %w", err)
		return
	}
	f.expect(page.Total >= len(page.List), "search: total %d, but %d are listed", page.Total, len(page.List))
	for _, character := range page.List {
		f.expect(strings.HasPrefix(character.Name, name), "search for %q: found %q", name, character.Name)
	}
	got := slices.ContainsFunc(page.List, func(c xingchen.Character) bool { return c.CharacterID == id })
	f.expect(got == want, "search: the character is listed: %v, want %v", got, want)
}

func guardsAPrivateCharacter(ctx context.Context, s *session) (err error) {
	if s.Other == nil {
		return skipped("the target has no second account")
	}
	ref, err := s.Client.CreateCharacter(ctx, s.character("private"))
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	defer func() { err = errors.Join(err, s.discard(ctx, ref.CharacterID)) }()
	var found findings
	_, err = s.Other.CharacterDetails(ctx, xingchen.CharacterRef{CharacterID: ref.CharacterID})
	found.refusal(err, upstream.KindForbidden, "details by another account")
	req := s.request("stranger", question, whole)
	req.Input.ACA.BotProfile.CharacterID = ref.CharacterID
	_, err = s.Other.Chat(ctx, req)
	found.refusal(err, upstream.KindForbidden, "chat by another account")
	return found.err()
}
