package report

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
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
	slices.SortStableFunc(sorted, func(a, b Entry) int { return cmp.Compare(a.At, b.At) })
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
	for _, line := range timelineLines(entries) {
		if _, err := fmt.Fprintf(w, "%s%s\n", indent, line); err != nil {
			return err
		}
	}
	return nil
}

// connection is how an entry of the cache begins: with the connection's number.
var connection = regexp.MustCompile(`^([0-9]+) (.*)$`)

// fromCache is the source of the entries that have a connection and are followed downwards.
const fromCache = "cache"

// arrow stands in an entry before what came of it.
const arrow = " → "

// timelineLines sets the entries in columns, so that the eye can follow one connection, or the outcomes, downwards: the time,
// the source, the number of the connection, what happened, and what came of it.
func timelineLines(entries []Entry) []string {
	type row struct{ at, source, conn, text, outcome string }
	rows := make([]row, len(entries))
	var at, source, conn, text int
	for i, e := range entries {
		sign := "+"
		if e.At < 0 {
			sign = "" // FormatOffset writes the minus
		}
		r := row{at: sign + FormatOffset(e.At), source: e.Source, text: oneLine(e.Text)}
		if found := connection.FindStringSubmatch(r.text); found != nil && e.Source == fromCache {
			r.conn, r.text = found[1], found[2]
		}
		if cut := strings.LastIndex(r.text, arrow); cut >= 0 {
			r.text, r.outcome = r.text[:cut], r.text[cut:]
			text = max(text, utf8.RuneCountInString(r.text))
		}
		at, source, conn = max(at, len(r.at)), max(source, len(r.source)), max(conn, len(r.conn))
		rows[i] = r
	}
	lines := make([]string, len(rows))
	for i, r := range rows {
		line := pad(r.at, at) + " " + pad(r.source, source) + "  "
		if conn > 0 {
			line += strings.Repeat(" ", conn-len(r.conn)) + r.conn + " "
		}
		if r.outcome != "" && r.source == fromCache { // what the cache answered is what the eye looks for
			r.text = pad(r.text, text)
		}
		lines[i] = strings.TrimRight(line+r.text+r.outcome, " ")
	}
	return lines
}

// oneLine keeps a text, which may come from a library or a driver, from breaking the table or the terminal that it is shown on.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}
