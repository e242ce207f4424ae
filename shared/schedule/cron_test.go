package schedule_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/schedule"
)

func TestLineNext(t *testing.T) {
	t.Parallel()
	const utc, shanghai, berlin = "UTC", "Asia/Shanghai", "Europe/Berlin"
	for _, tc := range []struct{ line, zone, after, want string }{
		{"* * * * * *", utc, "2024-05-01T11:59:59.9Z", "2024-05-01T12:00:00Z"},
		{"0 0 3 * * *", shanghai, "2024-05-01T00:00:00Z", "2024-05-01T19:00:00Z"},
		{"0 0 3 * * *", shanghai, "2024-05-01T19:00:00Z", "2024-05-02T19:00:00Z"},
		{"30 */15 8-9 * * mon-FRI", utc, "2024-05-03T09:45:30Z", "2024-05-06T08:00:30Z"},
		{"0 10/20 ? * * ?", utc, "2024-05-01T00:10:00Z", "2024-05-01T00:30:00Z"},
		{"0 5,10-12 0 1 jan *", utc, "2024-01-01T00:11:00Z", "2024-01-01T00:12:00Z"},
		{"0 0 0 31 * *", utc, "2024-04-01T00:00:00Z", "2024-05-31T00:00:00Z"},
		{"0 0 0 29 2 *", utc, "2024-03-01T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"0 0 0 13 * fri", utc, "2024-05-01T00:00:00Z", "2024-05-03T00:00:00Z"},           // either day
		{"0 0 0 */1 * fri", utc, "2024-05-01T00:00:00Z", "2024-05-03T00:00:00Z"},          // both: */1 is *
		{"0 0 0 */2 * fri", utc, "2024-05-01T00:00:00Z", "2024-05-03T00:00:00Z"},          // either
		{"0 30 2 * * *", berlin, "2024-03-30T12:00:00Z", "2024-04-01T00:30:00Z"},          // no such hour on the 31st
		{"0 30 2 * * *", berlin, "2024-10-27T00:30:00Z", "2024-10-27T01:30:00Z"},          // twice
		{"0 0 0 * * *", "America/Havana", "2024-03-09T12:00:00Z", "2024-03-11T04:00:00Z"}, // a day without midnight
	} {
		line, err := schedule.ParseLine(tc.line, tc.zone)
		if err != nil {
			t.Errorf("%q: %v", tc.line, err)
			continue
		}
		next := line.Next(parse(t, tc.after))
		if diff := cmp.Diff(tc.want, next.UTC().Format(time.RFC3339)); diff != "" {
			t.Errorf("%q in %s after %s (-want +got):\n%s", tc.line, tc.zone, tc.after, diff)
		}
		last := line.Last(next)
		if again := line.Next(last); !last.Before(next) || !again.Equal(next) {
			t.Errorf("%q in %s: the last time before %s is %s, and the next after that %s", tc.line, tc.zone, next, last, again)
		}
	}
}

func TestLineLast(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ line, before, want string }{
		{"0 0 3 * * *", "2024-05-02T03:00:00Z", "2024-05-01T03:00:00Z"},
		{"0 0 3 * * *", "2024-05-02T03:00:00.5Z", "2024-05-02T03:00:00Z"},
		{"* * * * * *", "2024-05-02T03:00:00Z", "2024-05-02T02:59:59Z"},
		{"* * * 1 * *", "2024-05-01T00:00:00Z", "2024-04-01T23:59:59Z"},
		{"0 0 0 29 2 *", "2024-02-29T00:00:00Z", "2020-02-29T00:00:00Z"},
	} {
		line, err := schedule.ParseLine(tc.line, "UTC")
		if err != nil {
			t.Fatal(err)
		}
		if got := line.Last(parse(t, tc.before)).Format(time.RFC3339); got != tc.want {
			t.Errorf("%q before %s: %s, want %s", tc.line, tc.before, got, tc.want)
		}
	}
}

func parse(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// faulty are lines that nobody takes, and what is said of them.
var faulty = []struct{ line, zone, want string }{
	{"0 3 * * *", "UTC", "5 fields, want six"},
	{"", "UTC", "0 fields"},
	{"@daily", "UTC", "1 fields"},
	{"60 0 0 * * *", "UTC", `second "60": "60" is no number from 0 to 59`},
	{"0 -1 0 * * *", "UTC", `minute "-1": "" is no number`},
	{"0 0 24 * * *", "UTC", `hour "24"`},
	{"0 0 0 0 * *", "UTC", `day of the month "0"`},
	{"0 0 0 * 13 *", "UTC", `month "13"`},
	{"0 0 0 * * 7", "UTC", `day of the week "7"`},
	{"0 0 0 * * monday", "UTC", `"monday" is no number`},
	{"0 0 0 * ana *", "UTC", `"ana" is no number`},
	{"0 0 5-3 * * *", "UTC", "5-3 ends before it begins"},
	{"0 */0 * * * *", "UTC", `"0" is no step of at least 1`},
	{"0 */x * * * *", "UTC", `"x" is no step`},
	{"0 1-2-3 * * * *", "UTC", `"2-3" is no number`},
	{"0 1/2/3 * * * *", "UTC", `"2/3" is no step`},
	{"0 0 0 30 2 *", "UTC", "no such day in the next 5 years"},
	{"0 0 0 * * *", "Asia/Nowhere", `time zone "Asia/Nowhere"`},
}

func TestParseLineNamesTheField(t *testing.T) {
	t.Parallel()
	for _, tc := range append(faulty, struct{ line, zone, want string }{"0 0 0 * * *", "Local", "not a name such as Asia/Shanghai"}) {
		if _, err := schedule.ParseLine(tc.line, tc.zone); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q in %q: %v, want %q", tc.line, tc.zone, err, tc.want)
		}
	}
	_, err := schedule.ParseLine("61 x 0 * * *", "")
	if err == nil || !strings.Contains(err.Error(), "second") || !strings.Contains(err.Error(), "minute") {
		t.Errorf("of two faults is told %v", err)
	}
}

func FuzzParseLine(f *testing.F) {
	for _, tc := range faulty {
		f.Add(tc.line, tc.zone, uint32(0))
	}
	f.Add("0 0 3 * * *", "Asia/Shanghai", uint32(1714521600))
	f.Add("*/7,3-9/2 ?/3 1,2 */2 feb-nov/3 sun", "America/Havana", uint32(1710000000))
	f.Fuzz(func(t *testing.T, text, zone string, seconds uint32) {
		line, err := schedule.ParseLine(text, zone)
		if err != nil {
			return
		}
		at := time.Unix(int64(seconds), 0)
		next := line.Next(at)
		if next.IsZero() {
			return
		}
		if !next.After(at) {
			t.Errorf("%q in %s: after %s comes %s", text, zone, at, next)
		}
		if last := line.Last(next); last.After(at) || !last.IsZero() && !line.Next(last).Equal(next) {
			t.Errorf("%q in %s: %s is next after %s, last before it is %s", text, zone, next, at, last)
		}
	})
}
