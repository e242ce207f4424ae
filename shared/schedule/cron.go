package schedule

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // a zone is the same wherever it is looked at
)

// Line is a cron line in a time zone, as the server understands it: the times are all
// seconds whose hour, day and so on, read off a clock of the zone, are in the line. An hour
// that a clock skips in spring has no times, and one that it repeats in autumn has them
// twice. (Where clocks skip midnight itself, the server may miss the hour after it for days.)
type Line struct {
	fields [6]set
	// Of days of the month and of the week, if neither begins with a star, either will do.
	eitherDay bool
	zone      *time.Location
}

// set has a bit for each number that is in a field.
type set uint64

func (s set) has(n int) bool { return s&(1<<n) != 0 }

// The fields of a line.
const (
	second = iota
	minute
	hour
	day
	month
	weekday
)

var bounds = [6]struct {
	name     string
	min, max int
	words    string // of three letters each, for the numbers from min on
}{
	{"second", 0, 59, ""},
	{"minute", 0, 59, ""},
	{"hour", 0, 23, ""},
	{"day of the month", 1, 31, ""},
	{"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
	{"day of the week", 0, 6, "sunmontuewedthufrisat"},
}

// horizon is how far ahead a line is looked for its next time: to the next 29th of February
// there may be eight years, but the server gives up after five.
const horizon = 5

// ParseLine reads a line of six fields (second, minute, hour, day of the month, month, day
// of the week), separated by blanks, and the IANA name of a time zone; "" is UTC. A field is
// a list, separated by commas, of numbers, ranges such as 1-5, and "*" or "?" for all, each
// with an optional step such as */15 or 10-40/5; 5/15 means from 5 to the end. Months and
// weekdays may be written as three letters, and Sunday is 0. Errors name the field. A line
// that has no time within the next years is refused.
func ParseLine(text, zone string) (Line, error) {
	var l Line
	location, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		return l, fmt.Errorf("time zone %q: not a name such as Asia/Shanghai", zone)
	}
	l.zone = location
	fields := strings.Fields(text)
	if len(fields) != len(l.fields) {
		return l, fmt.Errorf(`cron line %q: %d fields, want six: second minute hour day month weekday, such as "0 0 3 * * *"`, text, len(fields))
	}
	var faults []error
	stars := 0
	for i, field := range fields {
		var star bool
		if l.fields[i], star, err = parseField(i, field); err != nil {
			faults = append(faults, fmt.Errorf("cron line: %s %q: %w", bounds[i].name, field, err))
		}
		if star && (i == day || i == weekday) {
			stars++
		}
	}
	l.eitherDay = stars == 0
	if err := errors.Join(faults...); err != nil {
		return l, err
	}
	if l.Next(time.Now()).IsZero() {
		return l, fmt.Errorf("cron line %q: there is no such day in the next %d years", text, horizon)
	}
	return l, nil
}

// parseField reads a field; star tells that it does not restrict anything.
func parseField(i int, text string) (numbers set, star bool, err error) {
	for item := range strings.SplitSeq(text, ",") {
		span, stepText, stepped := strings.Cut(item, "/")
		step := 1
		if stepped {
			if step, err = strconv.Atoi(stepText); err != nil || step < 1 || strings.HasPrefix(stepText, "+") {
				return 0, false, fmt.Errorf("%q is no step of at least 1", stepText)
			}
		}
		low, high := bounds[i].min, bounds[i].max
		if span == "*" || span == "?" {
			star = star || step == 1
		} else if low, high, err = parseSpan(i, span, stepped); err != nil {
			return 0, false, err
		}
		for n := low; n <= high; n += step {
			numbers |= 1 << n
		}
	}
	return numbers, star, nil
}

func parseSpan(i int, text string, stepped bool) (low, high int, err error) {
	first, last, ranged := strings.Cut(text, "-")
	if low, err = parseNumber(i, first); err != nil {
		return 0, 0, err
	}
	switch {
	case ranged:
		if high, err = parseNumber(i, last); err != nil {
			return 0, 0, err
		}
	case stepped:
		high = bounds[i].max
	default:
		high = low
	}
	if low > high {
		return 0, 0, fmt.Errorf("%s ends before it begins", text)
	}
	return low, high, nil
}

func parseNumber(i int, text string) (int, error) {
	b := bounds[i]
	if at := strings.Index(b.words, strings.ToLower(text)); len(text) == 3 && at >= 0 && at%3 == 0 {
		return b.min + at/3, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || strings.HasPrefix(text, "+") || n < b.min || n > b.max {
		return 0, fmt.Errorf("%q is no number from %d to %d", text, b.min, b.max)
	}
	return n, nil
}

// Next returns the first time of the line after a time, or the zero time if there is none
// for years.
func (l Line) Next(after time.Time) time.Time {
	t := after.In(l.zone).Truncate(time.Second).Add(time.Second)
	for end := t.Year() + horizon; t.Year() <= end; {
		next, found := l.skip(t)
		if found {
			return t
		}
		if !next.After(t) { // the day that follows has no midnight
			next = t.Add(time.Hour)
		}
		t = next
	}
	return time.Time{}
}

// skip finds a time to be one of the line, or returns where to look next.
func (l Line) skip(t time.Time) (next time.Time, found bool) {
	year, m, d := t.Date()
	seconds := time.Duration(t.Second()) * time.Second
	switch {
	case !l.fields[month].has(int(m)):
		return time.Date(year, m+1, 1, 0, 0, 0, 0, l.zone), false
	case !l.onDay(t):
		return time.Date(year, m, d+1, 0, 0, 0, 0, l.zone), false
	case !l.fields[hour].has(t.Hour()):
		return t.Add(time.Hour - time.Duration(t.Minute())*time.Minute - seconds), false
	case !l.fields[minute].has(t.Minute()):
		return t.Add(time.Minute - seconds), false
	case !l.fields[second].has(t.Second()):
		return t.Add(time.Second), false
	}
	return t, true
}

func (l Line) onDay(t time.Time) bool {
	inMonth, inWeek := l.fields[day].has(t.Day()), l.fields[weekday].has(int(t.Weekday()))
	if l.eitherDay {
		return inMonth || inWeek
	}
	return inMonth && inWeek
}

// Last returns the last time of the line before a time, or the zero time if there was none
// for years.
func (l Line) Last(before time.Time) time.Time {
	begin := before.Truncate(time.Second).AddDate(-horizon, 0, 0)
	after := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	// From the last time on, the next one is no longer before.
	last := sort.Search(int(before.Sub(begin)/time.Second), func(i int) bool {
		next := l.Next(after(i))
		return next.IsZero() || !next.Before(before)
	})
	if last == 0 {
		return time.Time{}
	}
	return after(last).In(l.zone)
}
