package beebottest

import (
	"context"
	"errors"
	"fmt"

	"xinghe/shared/beebot"
	"xinghe/shared/upstream"
)

const noClassic = skipped("the target has no robot of the older edition")

func chatsTwoTurnsOfOneSession(ctx context.Context, s *session) error {
	if s.ClassicInstanceID == "" {
		return noClassic
	}
	var found findings
	sessionID := ""
	for turn, utterance := range s.Questions {
		what := fmt.Sprintf("turn %d", turn+1)
		response, err := s.Client.Chat(ctx, beebot.ChatRequest{
			InstanceID: s.ClassicInstanceID, Utterance: utterance, SessionID: sessionID, SenderID: s.sender("chat"),
		})
		if err != nil {
			return errors.Join(found.err(), fmt.Errorf("%s: %w", what, err))
		}
		found.expect(response.MessageID != "" && response.SessionID != "", "%s: MessageId or SessionId is empty", what)
		found.expect(sessionID == "" || response.SessionID == sessionID, "%s: session %q, the request named %q", what, response.SessionID, sessionID)
		found.expect(len(response.Answers) > 0, "%s: no messages", what)
		for i, a := range response.Answers {
			found.whole(a, fmt.Sprintf("%s, message %d", what, i+1))
		}
		sessionID = response.SessionID
	}
	return found.err()
}

// whole checks that the part of a message which its kind names is there.
func (f *findings) whole(a beebot.Answer, what string) {
	switch a.Kind {
	case beebot.KindText:
		f.expect(a.Text != nil && (a.Text.Content != "" || a.Handover != nil), "%s: AnswerType Text without a text", what)
	case beebot.KindKnowledge:
		f.expect(a.Knowledge != nil && a.Knowledge.ID != "" && a.Knowledge.Title != "", "%s: AnswerType Knowledge without an entry", what)
	case beebot.KindRecommend:
		f.expect(len(a.Recommends) > 0 && a.Recommends[0].Title != "", "%s: AnswerType Recommend without a title to choose", what)
	default:
		f.expect(false, "%s: AnswerType %q is not documented", what, a.Kind)
	}
}

func refusesToChatAsAnUnknownRobot(ctx context.Context, s *session) error {
	if s.ClassicInstanceID == "" {
		return noClassic
	}
	_, err := s.Client.Chat(ctx, beebot.ChatRequest{InstanceID: s.unknownRobot(), Utterance: s.Questions[0]})
	var found findings
	found.refusal(err, "chat with an unknown robot", upstream.KindNotFound, upstream.KindInvalid)
	return found.err()
}
