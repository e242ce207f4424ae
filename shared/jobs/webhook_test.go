package jobs_test

import (
	"strings"
	"testing"

	"xinghe/shared/jobs"
)

func TestWebhookAnswerIsCutAtACharacter(t *testing.T) {
	t.Parallel()
	var a jobs.WebhookAnswer
	if a.SetText("好"); a.Text != "好" || a.Clipped {
		t.Errorf("%+v", a)
	}
	long := strings.Repeat("好", jobs.MaxChatText)
	if a.SetText(long); !a.Clipped || len(a.Text) > jobs.MaxChatText || len(a.Text) < jobs.MaxChatText-2 || !strings.HasPrefix(long, a.Text) {
		t.Errorf("%d bytes, clipped %v", len(a.Text), a.Clipped)
	}
}
