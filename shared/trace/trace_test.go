package trace_test

import (
	"context"
	"fmt"
	"testing"

	"xinghe/shared/trace"
)

const (
	traceID = "0af7651916cd43dd8448eb211c80319c"
	spanID  = "b7ad6b7169203331"
	sampled = "00-" + traceID + "-" + spanID + "-01"
)

func TestParse(t *testing.T) {
	t.Parallel()
	const zeros = "00000000000000000000000000000000"
	for name, tc := range map[string]struct{ text, want string }{
		"sampled":           {sampled, sampled},
		"not sampled":       {"00-" + traceID + "-" + spanID + "-00", "00-" + traceID + "-" + spanID + "-00"},
		"later version":     {"01-" + traceID + "-" + spanID + "-01-more", sampled},
		"later, just as 00": {"cc-" + traceID + "-" + spanID + "-01", sampled},
		"later, glued":      {"01-" + traceID + "-" + spanID + "-01more", ""},
		"00 with more":      {sampled + "-more", ""},
		"no version":        {"ff-" + traceID + "-" + spanID + "-01", ""},
		"bad version":       {"0x-" + traceID + "-" + spanID + "-01", ""},
		"no trace":          {"00-" + zeros + "-" + spanID + "-01", ""},
		"no span":           {"00-" + traceID + "-" + zeros[:16] + "-01", ""},
		"capitals":          {"00-0AF7651916CD43DD8448EB211C80319C-" + spanID + "-01", ""},
		"bad flags":         {"00-" + traceID + "-" + spanID + "-0g", ""},
		"short":             {sampled[:54], ""},
		"empty":             {"", ""},
		"other separators":  {"00_" + traceID + "_" + spanID + "_01", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := trace.Parse(tc.text)
			if string(got) != tc.want || ok != (tc.want != "") {
				t.Errorf("%q, %t", got, ok)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sampled)
	f.Add("01-" + traceID + "-" + spanID + "-01-more")
	f.Fuzz(func(t *testing.T, text string) {
		parent, ok := trace.Parse(text)
		if !ok {
			if parent != "" {
				t.Errorf("%q is refused, and is %q", text, parent)
			}
			return
		}
		if again, ok := trace.Parse(string(parent)); !ok || again != parent {
			t.Errorf("%q becomes %q, which is not read again", text, parent)
		}
		if len(parent.TraceID()) != 32 {
			t.Errorf("trace %q", parent.TraceID())
		}
	})
}

func TestFromNothing(t *testing.T) {
	t.Parallel()
	if parent := trace.From(t.Context()); parent != "" || parent.TraceID() != "" {
		t.Error(parent)
	}
}

func ExampleWith() {
	parent, _ := trace.Parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	ctx := trace.With(context.Background(), parent)
	fmt.Println(trace.From(ctx).TraceID())
	// Output: 0af7651916cd43dd8448eb211c80319c
}
