package emulator_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"xinghe/shared/beebot"
	"xinghe/shared/beebot/beebottest"
	"xinghe/shared/sign"
	"xinghe/shared/xingchen"
	"xinghe/shared/xingchen/xingchentest"
	"xinghe/testlocal/emulator"
	beebotemu "xinghe/testlocal/emulator/beebot"
	"xinghe/testlocal/emulator/fault"
	xingchenemu "xinghe/testlocal/emulator/xingchen"
)

// ticking is a clock that no two readings of show the same time, so that rows of a history
// can be told apart by theirs.
func ticking() func() time.Time {
	start, readings := time.Now(), new(atomic.Int64)
	return func() time.Time { return start.Add(time.Duration(readings.Add(1)) * 5 * time.Millisecond) }
}

func xingchenClient(tb testing.TB, baseURL string, key sign.Secret) *xingchen.Client {
	tb.Helper()
	client, err := xingchen.New(xingchen.Config{BaseURL: baseURL, APIKey: key, Transport: transport(tb)})
	if err != nil {
		tb.Fatal(err)
	}
	return client
}

func beebotClient(tb testing.TB, cfg beebot.Config, pair beebot.Credentials) *beebot.Client {
	tb.Helper()
	cfg.Credentials, cfg.Transport = beebot.StaticCredentials(pair), transport(tb)
	client, err := beebot.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := client.Close(); err != nil {
			tb.Error(err)
		}
	})
	return client
}

// transport is one whose connections end with the test.
func transport(tb testing.TB) *http.Transport {
	tb.Helper()
	own := &http.Transport{Proxy: http.ProxyFromEnvironment}
	tb.Cleanup(own.CloseIdleConnections)
	return own
}

func xingchenTarget(tb testing.TB, cfg emulator.Config) (xingchentest.Target, *emulator.Emulator) {
	tb.Helper()
	cfg.Now = ticking()
	b := setup(tb, cfg)
	return xingchentest.Target{
		Client:       xingchenClient(tb, b.url, sign.NewSecret(emulator.DefaultXingchenKey)),
		Other:        xingchenClient(tb, b.url, sign.NewSecret(emulator.DefaultOtherKey)),
		WrongKey:     xingchenClient(tb, b.url, sign.NewSecret("lm-nobody")),
		Reproducible: true,
		Lag:          time.Nanosecond, // the emulator's history lags behind nothing
		Timeout:      20 * time.Second,
	}, b.emu
}

func beebotTarget(tb testing.TB, cfg emulator.Config) (beebottest.Target, *emulator.Emulator) {
	tb.Helper()
	b := setup(tb, cfg)
	at := beebot.Config{Endpoint: b.url, StreamURL: b.url, AgentKey: sign.NewSecret(emulator.DefaultAgentKey)}
	secret := func(text string) beebot.Credentials {
		return beebot.Credentials{AccessKeyID: emulator.DefaultAccessKeyID, AccessKeySecret: sign.NewSecret(text)}
	}
	return beebottest.Target{
		Client:      beebotClient(tb, at, secret(emulator.DefaultAccessKeySecret)),
		WrongSecret: beebotClient(tb, at, secret("nobody's")),
		InstanceID:  emulator.DefaultInstanceID, ClassicInstanceID: emulator.DefaultInstanceID,
		Transport: transport(tb), Timeout: 20 * time.Second,
	}, b.emu
}

func TestXingchenConformance(t *testing.T) {
	t.Parallel()
	target, _ := xingchenTarget(t, emulator.Config{})
	xingchentest.Exercise(t, target)
}

func TestXingchenConformanceLeavesNoCharacter(t *testing.T) {
	t.Parallel()
	target, _ := xingchenTarget(t, emulator.Config{})
	count := func() int {
		page, err := target.Client.SearchCharacters(t.Context(), xingchen.CharacterQuery{Where: xingchen.CharacterWhere{Scope: "my"}})
		if err != nil {
			t.Fatal(err)
		}
		return page.Total
	}
	before := count()
	if failed, err := xingchentest.Audit(t.Context(), target); err != nil || len(failed) > 0 {
		t.Fatalf("audit: %v, %v", failed, err)
	}
	if after := count(); after != before {
		t.Errorf("the account has %d characters, before it had %d", after, before)
	}
}

func TestBeebotConformance(t *testing.T) {
	t.Parallel()
	target, _ := beebotTarget(t, emulator.Config{})
	beebottest.Exercise(t, target)
}

// TestXingchenConformanceAssumesNothing holds the checks to what is documented: whichever way
// the service reads what is not, they must pass.
func TestXingchenConformanceAssumesNothing(t *testing.T) {
	t.Parallel()
	for name, assume := range map[string]xingchenemu.Assumptions{
		"Strict":         {Strict: true, StatusFollowsCode: true, StreamContentType: "text/event-stream", UpdateClears: true},
		"ServiceDialect": {ErrorDialect: "service", ThrottleKey: "x", SystemKey: "y", ParallelKey: "z", ParallelStatus: 409},
		"GatewayDialect": {ErrorDialect: "gateway", ParallelAllowed: true, RatingFromZero: true, FirstVersion: 7},
		"Framing":        {SpaceAfterData: true, EventLines: true, Heartbeat: true, EmptyClosingFrame: true, UsageEverywhere: true},
		"History":        {HistoryUnused: true, StoreAllMessages: true, NoOpeningLine: true, ReminderType: "character", ResetDeletes: true},
		"Answers":        {PlainContext: true, IncrementalByDefault: true, MaxLength: -1, ImageForEveryAnswer: true, AuditStatus: "passed"},
		"Idle":           {SessionIdle: time.Millisecond, ImageDelay: -1, ImageSuccess: "SUCCESS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target, _ := xingchenTarget(t, emulator.Config{Assume: emulator.Assumptions{Xingchen: assume}})
			if assume.ErrorDialect == "gateway" {
				target.WrongKey = nil // the gateway's code 400 alone does not tell a key from a field
			}
			xingchentest.Exercise(t, target)
		})
	}
}

func TestBeebotConformanceAssumesNothing(t *testing.T) {
	t.Parallel()
	for name, assume := range map[string]beebotemu.Assumptions{
		"Strict":   {StrictStream: true, CodeUnknownBot: "InvalidParameter", CodeSpace: "NotYours", FullEnvelope: true},
		"Frames":   {Empty: -1, SnapshotRunes: 1, Repeats: 1, BareAnswers: true},
		"Leniency": {NoReplay: true, MaxUtterance: 500, CutUtterance: true, SessionLifetime: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target, _ := beebotTarget(t, emulator.Config{Assume: emulator.Assumptions{Beebot: assume}})
			beebottest.Exercise(t, target)
		})
	}
}

// TestConformanceBearsTheNetwork strikes what a client must not even notice.
func TestConformanceBearsTheNetwork(t *testing.T) {
	t.Parallel()
	harmless := []fault.Rule{{Fault: fault.Split}, {Fault: fault.CRLF}, {Fault: fault.Comment}, {Fault: fault.Huge, Bytes: 1 << 16}}
	cfg := emulator.Config{Faults: fault.Set{Rules: harmless}}
	t.Run("Xingchen", func(t *testing.T) {
		t.Parallel()
		target, _ := xingchenTarget(t, cfg)
		xingchentest.Exercise(t, target)
	})
	t.Run("Beebot", func(t *testing.T) {
		t.Parallel()
		target, _ := beebotTarget(t, cfg)
		beebottest.Exercise(t, target)
	})
}

// TestXingchenConformanceCanFail shows for each fault which checks find it.
func TestXingchenConformanceCanFail(t *testing.T) {
	t.Parallel()
	const chat, histories = "/v2/api/chat/send", "/v2/api/chat/message/histories"
	for name, row := range map[string]struct {
		rule fault.Rule
		want []string
	}{
		"MalformedJSON": {fault.Rule{Route: "/v2/api/character/details", Fault: fault.MalformedJSON}, []string{
			"KeepsACharacterUntilItIsDeleted", "GuardsAPrivateCharacter", "RefusesAnUnknownCharacter", "RefusesAWrongKey",
		}},
		"CutStream": {fault.Rule{Route: chat, Fault: fault.Cut, AtFrame: 2}, []string{"StreamsTheWholeTextSoFar", "StreamsIncrements"}},
		"ErrorFrame": {fault.Rule{Route: chat, Fault: fault.ErrorEvent, AtFrame: 2}, []string{
			"StreamsTheWholeTextSoFar", "StreamsIncrements", "StreamsACustomCharacter", "KeepsTheConversation",
		}},
		"Rewrite":    {fault.Rule{Route: chat, Fault: fault.Rewrite}, []string{"StreamsTheWholeTextSoFar", "StreamsACustomCharacter"}},
		"TotalDrift": {fault.Rule{Route: histories, Fault: fault.TotalDrift}, []string{"KeepsTheConversation", "PagesTheHistory", "KeepsAReminder"}},
		"RepeatRow":  {fault.Rule{Route: histories, Fault: fault.RepeatRow}, []string{"PagesTheHistory", "KeepsARating"}},
		"DropRow":    {fault.Rule{Route: histories, Fault: fault.DropRow}, []string{"PagesTheHistory", "NarrowsTheHistoryByTime"}},
		"LateRows":   {fault.Rule{Route: histories, Fault: fault.LateRows}, []string{"KeepsTheConversation", "KeepsAReminder"}},
		"Throttled":  {fault.Rule{Route: chat, Fault: fault.Throttle}, []string{"AnswersWhole", "PlaysACustomCharacter", "ChatsOnAfterAReset"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target, emu := xingchenTarget(t, emulator.Config{})
			if err := emu.Faults().Set(row.rule); err != nil {
				t.Fatal(err)
			}
			failed, err := xingchentest.Audit(t.Context(), target)
			if err != nil {
				t.Fatal(err)
			}
			expectFailures(t, failed, row.want)
		})
	}
}

// TestBeebotConformanceCanFail does so for Beebot.
func TestBeebotConformanceCanFail(t *testing.T) {
	t.Parallel()
	const stream = "/sse/paas4Json"
	streams := []string{"StreamsTwoTurnsOfOneSession", "StreamsToAPlainPost"}
	for name, row := range map[string]struct {
		rule fault.Rule
		want []string
	}{
		"MalformedJSON": {fault.Rule{Route: "/Chat", Fault: fault.MalformedJSON}, []string{"ChatsTwoTurnsOfOneSession"}},
		"BrokenFrame":   {fault.Rule{Route: stream, Fault: fault.MalformedJSON, AtFrame: 3}, streams},
		"CutStream":     {fault.Rule{Route: stream, Fault: fault.Cut}, streams},
		"ErrorFrame":    {fault.Rule{Route: stream, Fault: fault.ErrorEvent, AtFrame: 2}, streams},
		"TokenExpired":  {fault.Rule{Route: stream, Fault: fault.TokenExpired}, streams},
		"Throttled":     {fault.Rule{Route: "/ApplyForStreamAccessToken", Fault: fault.Throttle}, []string{"HandsOutStreamCredentials", "RefusesAWrongSecret"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target, emu := beebotTarget(t, emulator.Config{})
			if err := emu.Faults().Set(row.rule); err != nil {
				t.Fatal(err)
			}
			failed, err := beebottest.Audit(t.Context(), target)
			if err != nil {
				t.Fatal(err)
			}
			expectFailures(t, failed, row.want)
		})
	}
}

// expectFailures wants these checks among the failed ones, and those that the fault cannot
// touch among the others.
func expectFailures(t *testing.T, failed map[string]error, want []string) {
	t.Helper()
	for _, check := range want {
		if failed[check] == nil {
			t.Errorf("%s passed; failed: %s", check, strings.Join(slices.Sorted(maps.Keys(failed)), ", "))
		}
	}
	for _, check := range []string{"HasNoPictureForAnUnknownID", "AnswersInTheEnvelope", "StopsALongUtteranceAtHome"} {
		if err := failed[check]; err != nil {
			t.Errorf("%s failed without reason: %v", check, err)
		}
	}
}
