package beebot_test

import (
	"bufio"
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/testlocal/emulator/beebot"
)

func TestBeginSession(t *testing.T) {
	t.Parallel()
	b := setup(t)
	got := b.send(b.params("BeginSession", "InstanceId", beebot.DefaultInstanceID)).decode(t)
	if got["WelcomeMessage"] != "您好,请问有什么可以帮您?" || got["RequestId"] == "" || got["Interruptible"] != true || got["SilenceReplyTimeout"] != 10000.0 {
		t.Errorf("%v", got)
	}
	// A session that has begun before begins afresh: the dialogue is no longer open.
	content := func(reply map[string]any) string {
		text, _ := json.Marshal(reply["Messages"])
		return string(text)
	}
	b.ask("查天气", "SessionId", "s")
	b.send(b.params("BeginSession", "InstanceId", beebot.DefaultInstanceID, "SessionId", "s"))
	if got := content(b.ask("北京", "SessionId", "s").decode(t)); !strings.Contains(got, "NO_ANSWER") {
		t.Errorf("%s", got)
	}
	for name, tc := range map[string]struct {
		more []string
		code string
	}{
		"no robot":       {nil, "MissingInstanceId"},
		"unknown robot":  {[]string{"InstanceId", "x"}, "InvalidInstanceId.NotFound"},
		"another space":  {[]string{"InstanceId", beebot.DefaultInstanceID, "AgentKey", "x"}, "Forbidden"},
		"long session":   {[]string{"InstanceId", beebot.DefaultInstanceID, "SessionId", strings.Repeat("s", 65)}, "InvalidParameter"},
		"a vendor param": {[]string{"InstanceId", beebot.DefaultInstanceID, "VendorParam", "x"}, "InvalidParameter"},
	} {
		if got := b.send(b.params("BeginSession", tc.more...)).decode(t); got["Code"] != tc.code {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// listed are the turns of a list.
func (b *bench) listed(action string, more ...string) (turns []map[string]any) {
	b.t.Helper()
	got := b.send(b.params(action, append([]string{"RobotInstanceId", beebot.DefaultInstanceID}, more...)...))
	var list struct{ Datas []map[string]any }
	if err := json.Unmarshal(got.body, &list); err != nil || got.status != http.StatusOK || list.Datas == nil {
		b.t.Fatalf("%d %s %v", got.status, got.body, err)
	}
	return list.Datas
}

func TestFeedbackAndLists(t *testing.T) {
	t.Parallel()
	for name, utc := range map[string]bool{"China": false, "UTC": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(cfg *beebot.Config) { cfg.Assume.ListsInUTC = utc })
			zone := time.FixedZone("", 8*3600)
			if utc {
				zone = time.UTC
			}
			at := func(d time.Duration) string { return b.clock.now().Add(d).In(zone).Format("2006-01-02 15:04:05") }
			first := b.ask("你好", "SessionId", "a", "SenderId", "u").decode(t)
			begun := at(0)
			b.clock.advance(time.Minute)
			frames := b.talk(b.say("你有什么技能?", "SessionId", "a"))
			b.talk(body("once", map[string]any{"InstanceId": beebot.DefaultInstanceID, "Utterance": "公积金", "SessionId": "b"}))
			b.talk(body("once", map[string]any{"InstanceId": beebot.DefaultInstanceID, "Utterance": "公积金", "SessionId": "b"})) // a replay is no turn

			id, _ := first["MessageId"].(string)
			said := b.send(b.params("Feedback", "MessageId", id, "Feedback", "Bad", "FeedbackContent", "太短", "InstanceId", beebot.DefaultInstanceID)).decode(t)
			if said["Feedback"] != "bad" || said["MessageId"] != id {
				t.Errorf("%v", said)
			}
			session := b.listed("ListTongyiConversationLogs", "SessionId", "a")
			if len(session) != 2 || session[0]["Feedback"] != "bad" || session[0]["FeedbackContent"] != "太短" || session[0]["SenderId"] != "u" ||
				session[0]["CreateTime"] != begun || session[0]["Utterance"] != "你好" || session[0]["Answer"] == "" || session[1]["Answer"] != frames[len(frames)-1].text() {
				t.Errorf("%v", session)
			}
			all := b.listed("ListTongyiChatHistorys", "StartTime", at(-time.Hour), "EndTime", at(0))
			if len(all) != 3 || all[2]["SessionId"] != "b" || all[2]["ChatId"] != "once" {
				t.Errorf("%v", all)
			}
			if got := b.listed("ListTongyiChatHistorys", "StartTime", begun, "EndTime", begun); len(got) != 1 || got[0]["MessageId"] != id {
				t.Errorf("%v", got)
			}
			if got := b.listed("ListTongyiChatHistorys", "StartTime", at(-time.Hour), "EndTime", at(0), "Limit", "2"); !cmp.Equal(got, all[:2]) {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestListsAndFeedbackRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const robot, when = beebot.DefaultInstanceID, "2024-04-01 08:00:00"
	for name, tc := range map[string]struct {
		action string
		more   []string
		code   string
	}{
		"no message":        {"Feedback", []string{"Feedback", "good"}, "MissingMessageId"},
		"no word":           {"Feedback", []string{"MessageId", "m"}, "MissingFeedback"},
		"another word":      {"Feedback", []string{"MessageId", "m", "Feedback", "so so"}, "InvalidParameter"},
		"unknown message":   {"Feedback", []string{"MessageId", "m", "Feedback", "good"}, "InvalidParameter"},
		"unknown robot":     {"Feedback", []string{"MessageId", "m", "Feedback", "good", "InstanceId", "x"}, "InvalidInstanceId.NotFound"},
		"no session":        {"CancelChat", nil, "MissingSessionId"},
		"another type":      {"CancelChat", []string{"SessionId", "s", "Type", "x"}, "InvalidParameter"},
		"no start":          {"ListTongyiChatHistorys", []string{"RobotInstanceId", robot, "EndTime", when}, "MissingStartTime"},
		"another time":      {"ListTongyiChatHistorys", []string{"RobotInstanceId", robot, "StartTime", when, "EndTime", "2024-04-01T08:00:00Z"}, "InvalidParameter"},
		"another limit":     {"ListTongyiChatHistorys", []string{"RobotInstanceId", robot, "StartTime", when, "EndTime", when, "Limit", "0"}, "InvalidParameter"},
		"list of no robot":  {"ListTongyiChatHistorys", []string{"StartTime", when, "EndTime", when}, "MissingRobotInstanceId"},
		"no list's session": {"ListTongyiConversationLogs", []string{"RobotInstanceId", robot}, "MissingSessionId"},
		"no such call":      {"Associate", nil, "InvalidApi.NotFound"},
	} {
		if got := b.send(b.params(tc.action, tc.more...)).decode(t); got["Code"] != tc.code {
			t.Errorf("%s: %v", name, got)
		}
	}
	lenient := setup(t, func(cfg *beebot.Config) { cfg.Assume.FeedbackForAny = true })
	if got := lenient.send(lenient.params("Feedback", "MessageId", "m", "Feedback", "good")).decode(t); got["Feedback"] != "good" {
		t.Errorf("%v", got)
	}
}

// cancelled begins a stream, cancels it after the first frames that have text, and returns the
// texts of all frames.
func (b *bench) cancelled(release chan<- struct{}, more ...string) (texts []string) {
	b.t.Helper()
	req := b.request(http.MethodPost, b.path(b.apply()), "application/json", b.say("讲个故事", "SessionId", "s"))
	resp, err := b.http.Client().Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	scanner := bufio.NewScanner(resp.Body)
	scanner.Buffer(nil, 1<<24)
	asked := false
	for scanner.Scan() {
		line, ok := strings.CutPrefix(scanner.Text(), "data:")
		if !ok {
			continue
		}
		var f frame
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			b.t.Fatal(err)
		}
		texts = append(texts, f.text())
		if f.text() == "" || asked {
			continue
		}
		asked = true
		if got := b.send(b.params("CancelChat", append([]string{"SessionId", "s", "Type", "Canceled"}, more...)...)).decode(b.t); got["CancelResult"] != true {
			b.t.Errorf("%v", got)
		}
		if release != nil {
			close(release)
		}
	}
	return texts
}

func TestCancelChat(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("很久很久以前。", 2000) // a frame every 5 ms and 7 characters: 10 s
	t.Run("Scripted", func(t *testing.T) {
		t.Parallel()
		b := setup(t, func(cfg *beebot.Config) {
			cfg.Pace, cfg.Assume.SnapshotRunes = 5*time.Millisecond, 7
			cfg.Model = func(context.Context, beebot.Ask) (string, error) { return long, nil }
		})
		texts := b.cancelled(nil)
		last := texts[len(texts)-1]
		if last == "" || len(last) >= len(long) || last != texts[len(texts)-2] {
			t.Errorf("%d frames, the last of %d bytes", len(texts), len(last))
		}
		if turns := b.listed("ListTongyiConversationLogs", "SessionId", "s"); len(turns) != 1 || turns[0]["Answer"] != last {
			t.Errorf("%v", turns)
		}
	})
	t.Run("OfAModel", func(t *testing.T) {
		t.Parallel()
		release := make(chan struct{})
		b := setup(t, func(cfg *beebot.Config) {
			cfg.Streamer = func(ctx context.Context, _ beebot.Ask) iter.Seq2[string, error] {
				return func(yield func(string, error) bool) {
					if !yield("从前有座山,山里有座庙。", nil) {
						return
					}
					select {
					case <-release:
					case <-ctx.Done():
					}
					_ = yield("庙里有个老和尚,在给小和尚讲故事。", nil)
				}
			}
		})
		texts := b.cancelled(release, "Answer", "从前有座山", "InstanceId", beebot.DefaultInstanceID)
		if last := texts[len(texts)-1]; last != "从前有座山,山里有座庙。" {
			t.Errorf("%q", texts)
		}
		if turns := b.listed("ListTongyiConversationLogs", "SessionId", "s"); len(turns) != 1 || turns[0]["Answer"] != "从前有座山" {
			t.Errorf("%v", turns)
		}
	})
	b := setup(t)
	if got := b.send(b.params("CancelChat", "SessionId", "none")).decode(t); got["CancelResult"] != false {
		t.Errorf("%v", got)
	}
}
