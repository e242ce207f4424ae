package xingchentest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"xinghe/shared/upstream"
	"xinghe/shared/xingchen"
)

// unknownID has the form of an id that nothing has.
func unknownID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

func refusesAnUnknownCharacter(ctx context.Context, s *session) error {
	var found findings
	req := s.request("lost", question, whole)
	req.Input.ACA.BotProfile.CharacterID = unknownID()
	_, err := s.Client.Chat(ctx, req)
	found.refusal(err, upstream.KindNotFound, "chat with an unknown character")
	_, err = s.Client.CharacterDetails(ctx, xingchen.CharacterRef{CharacterID: unknownID()})
	found.refusal(err, upstream.KindNotFound, "details of an unknown character")
	return found.err()
}

// refusesToStreamAnUnknownCharacter takes the refusal before the stream or inside it.
func refusesToStreamAnUnknownCharacter(ctx context.Context, s *session) error {
	req := s.request("lost-stream", question, cumulative)
	req.Input.ACA.BotProfile.CharacterID = unknownID()
	stream, err := s.Client.Stream(ctx, req)
	if err == nil {
		_, err = stream.Next()
		err = errors.Join(err, stream.Close())
	}
	var found findings
	found.refusal(err, upstream.KindNotFound, "stream of an unknown character")
	return found.err()
}

func refusesAnIncompleteCharacter(ctx context.Context, s *session) error {
	spec := s.character("nameless")
	spec.Name = ""
	ref, err := s.Client.CreateCharacter(ctx, spec)
	if err == nil {
		return errors.Join(errors.New("create a character without a name: got no error"), s.discard(ctx, ref.CharacterID))
	}
	var found findings
	found.refusal(err, upstream.KindInvalid, "create a character without a name")
	return found.err()
}

func refusesAWrongKey(ctx context.Context, s *session) error {
	if s.WrongKey == nil {
		return skipped("the target has no client with a wrong key")
	}
	var found findings
	_, err := s.WrongKey.Chat(ctx, s.request("intruder", question, whole))
	found.refusal(err, upstream.KindUnauthorized, "chat with a wrong key")
	_, err = s.WrongKey.CharacterDetails(ctx, xingchen.CharacterRef{CharacterID: s.CharacterID})
	found.refusal(err, upstream.KindUnauthorized, "details with a wrong key")
	return found.err()
}

// hasNoPictureForAnUnknownID takes an error or a picture that is not ready: which of them it
// is is not said.
func hasNoPictureForAnUnknownID(ctx context.Context, s *session) error {
	image, err := s.Client.PollImage(ctx, unknownID(), s.user("picture"))
	if _, refused := errors.AsType[*xingchen.Error](err); refused {
		return nil
	}
	if err != nil {
		return fmt.Errorf("poll a picture: %w", err)
	}
	var found findings
	found.expect(!image.Done() && len(image.FileURLs) == 0, "poll a picture of an unknown message: it is ready")
	return found.err()
}
