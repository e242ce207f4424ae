package jobs

import (
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // platforms of functions come without time zones
)

// Partition divides the parts of an export into folders, named as Hive does:
// "character=…/day=2024-05-01". No part holds rows of two of them.
type Partition struct {
	// By are [PartitionCharacter], [PartitionDay], or both, from the outer folder to the inner.
	By []string `json:"by"`
	// TimeZone says when a day begins, by its name in the IANA database; [DefaultTimeZone] by
	// default. It chooses names of folders and nothing else: times stay in UTC.
	TimeZone string `json:"timeZone,omitempty"`
}

// What an export can be partitioned by.
const (
	PartitionCharacter = "character"
	PartitionDay       = "day"
)

// DefaultTimeZone of a [Partition].
const DefaultTimeZone = "UTC"

// Limits of a [Partition].
const (
	// MaxPartitionDays is how many days a range may have that is partitioned by them: each of
	// them may give every window a part.
	MaxPartitionDays = 1000
	// MaxPartitionID is the longest id of a character, in bytes, that can become a folder.
	MaxPartitionID = 80
)

// Days is how many days there are in a range at most, if it is partitioned by them.
func (p *Partition) Days(span Range) int {
	if p == nil || !slices.Contains(p.By, PartitionDay) {
		return 0
	}
	return int(span.To.Sub(span.From)/(24*time.Hour)) + 2
}

// Zone is the time zone; UTC without partitions.
func (p *Partition) Zone() (*time.Location, error) {
	if p == nil {
		return time.UTC, nil
	}
	if p.TimeZone == "" || p.TimeZone == "Local" {
		return nil, fmt.Errorf("%q is no time zone such as \"Asia/Shanghai\"", p.TimeZone)
	}
	return time.LoadLocation(p.TimeZone)
}

func (p *Partition) check(faults *faults, s ExportSpec) {
	if p == nil {
		return
	}
	if len(p.By) == 0 {
		faults.add("partition.by", "missing: %q, %q or both", PartitionCharacter, PartitionDay)
	}
	for i, by := range p.By {
		switch {
		case by != PartitionCharacter && by != PartitionDay:
			faults.add(fmt.Sprintf("partition.by[%d]", i), "%q is not supported; use %q or %q", by, PartitionCharacter, PartitionDay)
		case slices.Contains(p.By[:i], by):
			faults.add(fmt.Sprintf("partition.by[%d]", i), "%q stands in the list twice", by)
		}
	}
	if _, err := p.Zone(); err != nil {
		faults.add("partition.timeZone", "%v", err)
	}
	if s.Watermark == nil && p.Days(Range{s.From, s.To}) > MaxPartitionDays {
		faults.add("partition.by", "a range of more than %d days cannot be partitioned by day", MaxPartitionDays-2)
	}
	long := slices.ContainsFunc(s.Characters, func(id string) bool { return len(id) > MaxPartitionID })
	if slices.Contains(p.By, PartitionCharacter) && long {
		faults.add("characters", "an id of more than %d bytes cannot become a folder", MaxPartitionID)
	}
}

// Path is the folder, below that of the export, of a character's messages of a time, in the
// zone given; none without partitions. What may mean something in paths is escaped by its
// hexadecimal value.
func (p *Partition) Path(characterID string, at time.Time, zone *time.Location) string {
	if p == nil {
		return ""
	}
	folders := make([]string, len(p.By))
	for i, by := range p.By {
		folders[i] = by + "=" + escape(value(by, characterID, at, zone))
	}
	return strings.Join(folders, "/")
}

// Labels are what Path is made of, by what the export is partitioned by.
func (p *Partition) Labels(characterID string, at time.Time, zone *time.Location) map[string]string {
	if p == nil {
		return nil
	}
	labels := map[string]string{}
	for _, by := range p.By {
		labels[by] = value(by, characterID, at, zone)
	}
	return labels
}

func value(by, characterID string, at time.Time, zone *time.Location) string {
	if by == PartitionCharacter {
		return characterID
	}
	return at.In(zone).Format(time.DateOnly)
}

func escape(id string) string {
	var text strings.Builder
	for i := range len(id) {
		if notInName(rune(id[i])) {
			fmt.Fprintf(&text, "%%%02X", id[i])
			continue
		}
		text.WriteByte(id[i])
	}
	return text.String()
}
