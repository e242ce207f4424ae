package fault_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"xinghe/testlocal/emulator/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func engine(tb testing.TB, rules ...fault.Rule) *fault.Engine {
	tb.Helper()
	e := fault.New(7)
	if err := e.Set(rules...); err != nil {
		tb.Fatal(err)
	}
	return e
}

func TestSelectors(t *testing.T) {
	t.Parallel()
	req := fault.Request{Route: "/v2/api/chat/send", Key: "k", User: "u"}
	for _, row := range []struct {
		rule fault.Rule
		want bool
	}{
		{fault.Rule{}, true},
		{fault.Rule{Route: "/v2/api/chat/send"}, true},
		{fault.Rule{Route: "/v2/api/chat/*"}, true},
		{fault.Rule{Route: "*"}, true},
		{fault.Rule{Route: "/v2/api/chat"}, false},
		{fault.Rule{Key: "k", User: "u"}, true},
		{fault.Rule{Key: "x"}, false},
		{fault.Rule{User: "x"}, false},
	} {
		row.rule.Fault = fault.Cut
		if got := engine(t, row.rule).Match(t.Context(), req).Has(fault.Cut); got != row.want {
			t.Errorf("%+v strikes: %t, want %t", row.rule, got, row.want)
		}
	}
}

func TestNilPlanDoesNothing(t *testing.T) {
	t.Parallel()
	plan := fault.New(1).Match(t.Context(), fault.Request{})
	if plan != nil {
		t.Fatal("a plan without rules")
	}
	recorder := httptest.NewRecorder()
	if !plan.Begin(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)) {
		t.Error("begin")
	}
	if _, refused := plan.Refusal(); refused || plan.Has(fault.Cut) || plan.Rewrites(3) || plan.IntN(3) != 0 || plan.Names() != nil {
		t.Error("a nil plan strikes")
	}
	if err := plan.Respond(t.Context(), recorder, 200, "text/plain", []byte("a")); err != nil || recorder.Body.String() != "a" {
		t.Errorf("%v %s", err, recorder.Body)
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	e := engine(t, fault.Rule{Fault: fault.Cut, Times: 2})
	var got []bool
	for range 4 {
		got = append(got, e.Match(t.Context(), fault.Request{}).Has(fault.Cut))
	}
	if diff := cmp.Diff([]bool{true, true, false, false}, got); diff != "" {
		t.Error(diff)
	}
}

// TestShareIsTheCallersOwn shows that what strikes a caller does not depend on what others send meanwhile.
func TestShareIsTheCallersOwn(t *testing.T) {
	t.Parallel()
	run := func(others int) []bool {
		e := engine(t, fault.Rule{Fault: fault.Cut, Share: 0.5})
		var got []bool
		for i := range 50 {
			for n := range others {
				e.Match(t.Context(), fault.Request{User: fmt.Sprint("other", n*i)})
			}
			got = append(got, e.Match(t.Context(), fault.Request{User: "u"}).Has(fault.Cut))
		}
		return got
	}
	if diff := cmp.Diff(run(0), run(3)); diff != "" {
		t.Error(diff)
	}
}

func TestFirstRuleOfAFaultWins(t *testing.T) {
	t.Parallel()
	plan := engine(t, fault.Rule{Fault: fault.Cut, AtFrame: 1}, fault.Rule{Fault: fault.Cut, AtFrame: 2}, fault.Rule{Fault: fault.CRLF}).
		Match(t.Context(), fault.Request{})
	rule, _ := plan.Rule(fault.Cut)
	if rule.AtFrame != 1 || len(plan.Names()) != 2 {
		t.Errorf("%+v, %v", rule, plan.Names())
	}
}

func TestRuleJSON(t *testing.T) {
	t.Parallel()
	var set fault.Set
	text := `{"seed":1,"rules":[{"route":"/v2/api/chat/send","key":"","user":"","share":0.1,"fault":"cut","atFrame":3,"delay":"250ms","jitter":1.5}]}`
	if err := json.Unmarshal([]byte(text), &set); err != nil {
		t.Fatal(err)
	}
	want := fault.Rule{
		Route: "/v2/api/chat/send", Share: 0.1, Fault: fault.Cut, AtFrame: 3, Delay: 250 * time.Millisecond, Jitter: 1500 * time.Microsecond,
	}
	if diff := cmp.Diff([]fault.Rule{want}, set.Rules); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []fault.Rule{
		{}, {Fault: "none"}, {Fault: fault.Cut, Share: -1}, {Fault: fault.Cut, AtFrame: -1}, {Fault: fault.Stall, Delay: -1}, {Fault: fault.Huge, Bytes: 1 << 40},
	} {
		if bad.Validate() == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
	for _, name := range fault.Names() {
		if err := (fault.Rule{Fault: name}).Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// writes records what arrives in which write.
type writes struct {
	*httptest.ResponseRecorder
	chunks []string
	held   bytes.Buffer
}

func (w *writes) Write(p []byte) (int, error) { return w.held.Write(p) }

func (w *writes) FlushError() error {
	w.chunks = append(w.chunks, w.held.String())
	w.held.Reset()
	return nil
}

func frames(t *testing.T, rule fault.Rule, texts ...string) []string {
	t.Helper()
	w := &writes{ResponseRecorder: httptest.NewRecorder()}
	f := fault.NewFrames(t.Context(), w, engine(t, rule).Match(t.Context(), fault.Request{}), 0)
	defer f.Close()
	for i, text := range texts {
		if err := f.Write([]byte("data:"+text+"\n\n"), i == len(texts)-1); err != nil {
			if !errors.Is(err, fault.ErrEnded) {
				t.Error(err)
			}
			break
		}
	}
	return w.chunks
}

func TestWrites(t *testing.T) {
	t.Parallel()
	t.Run("JoinPutsTwoFramesIntoOneWrite", func(t *testing.T) {
		t.Parallel()
		want := []string{"data:{1}\n\ndata:{2}\n\n", "data:{3}\n\n"}
		if diff := cmp.Diff(want, frames(t, fault.Rule{Fault: fault.Join, AtFrame: 1}, "{1}", "{2}", "{3}")); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("SplitCutsARune", func(t *testing.T) {
		t.Parallel()
		got := frames(t, fault.Rule{Fault: fault.Split}, `{"a":"你好"}`)
		if len(got) != 2 || utf8.ValidString(got[0]) || got[0]+got[1] != "data:{\"a\":\"你好\"}\n\n" {
			t.Errorf("%q", got)
		}
	})
	t.Run("HeldFrameGoesOutBeforeTheEnd", func(t *testing.T) {
		t.Parallel()
		w := &writes{ResponseRecorder: httptest.NewRecorder()}
		plan := engine(t, fault.Rule{Fault: fault.Join, AtFrame: 1}, fault.Rule{Fault: fault.Cut, AtFrame: 2}).Match(t.Context(), fault.Request{})
		f := fault.NewFrames(t.Context(), w, plan, 0)
		if err := f.Write([]byte("data:{1}\n\n"), false); err != nil {
			t.Fatal(err)
		}
		if err := f.Write([]byte("data:{2}\n\n"), true); !errors.Is(err, fault.ErrEnded) {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"data:{1}\n\n"}, w.chunks); diff != "" {
			t.Error(diff)
		}
	})
}

func TestFramesEndWithTheClient(t *testing.T) {
	t.Parallel()
	for name, plan := range map[string]*fault.Plan{
		"Pace":  nil,
		"Stall": engine(t, fault.Rule{Fault: fault.Stall, AtFrame: 2}).Match(t.Context(), fault.Request{}),
	} {
		ctx, leave := context.WithCancel(t.Context())
		f := fault.NewFrames(ctx, httptest.NewRecorder(), plan, time.Hour)
		if name == "Stall" {
			f = fault.NewFrames(ctx, httptest.NewRecorder(), plan, 0)
		}
		if err := f.Write([]byte("data:{}\n\n"), false); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(5*time.Millisecond, leave)
		if err := f.Write([]byte("data:{}\n\n"), true); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		f.Close()
	}
}

func TestTrace(t *testing.T) {
	t.Parallel()
	var trace fault.Trace
	engine(t, fault.Rule{Fault: fault.Cut}).Match(fault.WithTrace(t.Context(), &trace), fault.Request{User: "u"})
	req, names := trace.Seen()
	if req.User != "u" || len(names) != 1 || names[0] != fault.Cut {
		t.Errorf("%+v %v", req, names)
	}
}

// FuzzMangle strikes any frame with every fault that changes bytes: nothing may crash.
func FuzzMangle(f *testing.F) {
	f.Add([]byte("data:{\"a\":\"你\"}\n\n"), uint8(1))
	f.Add([]byte(""), uint8(0))
	f.Add([]byte{0xff, '{', 0xe4}, uint8(2))
	f.Fuzz(func(t *testing.T, frame []byte, at uint8) {
		for _, name := range []fault.Name{fault.Split, fault.Join, fault.CRLF, fault.Huge, fault.InvalidUTF8, fault.MalformedJSON, fault.Comment} {
			plan := engine(t, fault.Rule{Fault: name, AtFrame: int(at), Bytes: 4096}).Match(t.Context(), fault.Request{})
			f := fault.NewFrames(t.Context(), httptest.NewRecorder(), plan, 0)
			if err := f.Write(bytes.Clone(frame), false); err != nil {
				t.Fatal(err)
			}
			if err := f.Write(bytes.Clone(frame), true); err != nil {
				t.Fatal(err)
			}
			if err := plan.Respond(t.Context(), httptest.NewRecorder(), 200, "text/plain", bytes.Clone(frame)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func ExampleEngine() {
	engine := fault.New(1)
	err := engine.Set(fault.Rule{Route: "/v2/api/chat/send", User: "u1", Fault: fault.Cut, AtFrame: 3})
	if err != nil {
		fmt.Println(err)
		return
	}
	plan := engine.Match(context.Background(), fault.Request{Route: "/v2/api/chat/send", User: "u1"})
	fmt.Println(plan.Names())
	fmt.Println(strings.TrimSpace(fmt.Sprint(engine.Match(context.Background(), fault.Request{User: "u2"}).Names())))
	// Output:
	// [cut]
	// []
}

// BenchmarkFrames writes small frames to nobody.
func BenchmarkFrames(b *testing.B) {
	frame := []byte("data:{\"a\":\"一小段文字\"}\n\n")
	recorder := httptest.NewRecorder()
	f := fault.NewFrames(b.Context(), recorder, nil, 0)
	b.ReportAllocs()
	for b.Loop() {
		recorder.Body.Reset()
		if err := f.Write(frame, false); err != nil {
			b.Fatal(err)
		}
	}
}
