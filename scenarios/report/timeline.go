package report

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// Entry is one thing that happened, seen by one party.
type Entry struct {
	// At is the scenario's time since its start: a minute is a minute of the feature, whatever the lane.
	At time.Duration `json:"at_ns"`
	// Source is cache, entra, driver, stderr or harness.
	Source string `json:"source"`
	Text   string `json:"text"`
}

// Merge sorts the entries by time; entries of the same time keep the order in which they are given.
func Merge(entries []Entry) []Entry {
	sorted := slices.Clone(entries)
	slices.SortStableFunc(sorted, func(a, b Entry) int { return int(a.At - b.At) })
	return sorted
}

// FormatOffset writes a scenario time as minutes and seconds: 42m00.1s.
func FormatOffset(d time.Duration) string {
	sign := ""
	if d < 0 {
		sign, d = "-", -d
	}
	d = d.Round(100 * time.Millisecond)
	return fmt.Sprintf("%s%dm%04.1fs", sign, int(d/time.Minute), (d % time.Minute).Seconds())
}

// WriteTimeline writes one line per entry.
func WriteTimeline(w io.Writer, indent string, entries []Entry) error {
	for _, e := range entries {
		if _, err := fmt.Fprintf(w, "%s%-10s %-7s %s\n", indent, "+"+FormatOffset(e.At), e.Source, e.Text); err != nil {
			return err
		}
	}
	return nil
}
