package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/entracache/entracache/scenarios/protocol"
)

// pageWidth is where the place of a failure ends, unless what stands before it is too long.
const pageWidth = 107

// symbols and words are what the matrix shows for a status; the legend explains those that occur.
var symbols = map[Status]string{
	Pass: "✓", Fail: "✗", Warn: "!", XFail: "x", XPass: "?", FlakyPass: "~", FlakyFail: "~", Skip: "–", Error: "E", HarnessError: "H", Timeout: "T", NotRun: ".",
}

var words = map[Status]string{
	Pass: "pass", Fail: "FAIL", Warn: "warn", XFail: "known", XPass: "XPASS", FlakyPass: "flaky+", FlakyFail: "flaky-", Skip: "skip", Error: "ERROR", HarnessError: "HARNESS",
	Timeout: "TIMEOUT", NotRun: "not run",
}

var legend = map[Status]string{
	Pass: "passed", Fail: "a MUST was missed", Warn: "a SHOULD was missed", XFail: "missed, a known failure",
	FlakyPass: "passed this time, known to be missed now and then", FlakyFail: "missed this time, known to be missed now and then",
	XPass: "passed, but listed as a known failure: the list is stale", Skip: "skipped", Error: "the driver broke",
	HarnessError: "the harness broke", Timeout: "did not end", NotRun: "not run",
}

// WriteMatrix writes one row per scenario, grouped by feature, and one column per driver with its library's version. Below stand
// the legend, the totals, and why something was skipped, is a known failure or was not run.
func (r *Report) WriteMatrix(w io.Writer) error {
	m := &matrix{report: r}
	for _, d := range r.Drivers {
		m.columns = append(m.columns, column{d.Name, cmp.Or(d.Version(), "not run"), d.Time()})
	}
	return m.write(w)
}

type column struct{ name, version, time string }

func (c column) width() int {
	return max(utf8.RuneCountInString(c.name), utf8.RuneCountInString(c.version), utf8.RuneCountInString(c.time), len(Nonconformant))
}

// measured is the cell of an INFO that was not met: nothing was asked, so nothing was missed.
const measured = "i measured"

func cell(s Scenario, status Status) string {
	if s.Level == Info && status == Warn {
		return measured
	}
	return symbols[status] + " " + words[status]
}

type matrix struct {
	report  *Report
	columns []column
}

func (m *matrix) write(w io.Writer) error {
	left := 0
	for _, s := range m.report.Scenarios {
		left = max(left, len(s.ID))
	}
	left += 1 + len("SHOULD")
	var b strings.Builder
	row := func(head string, cells func(i int) string) {
		line := pad(head, left)
		for i, c := range m.columns {
			line += "  " + pad(cells(i), c.width())
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	row("", func(i int) string { return m.columns[i].name })
	row("", func(i int) string { return m.columns[i].version })
	if r := m.report; r.Run.Lane == "auto" {
		row("", func(i int) string { return m.columns[i].time })
	}
	feature := ""
	for _, s := range m.report.Scenarios {
		if s.Feature != feature {
			feature = s.Feature
			fmt.Fprintf(&b, "\n%s\n", feature)
		}
		row(fmt.Sprintf("%s %s", pad(string(s.Level), len("SHOULD")), s.ID), func(i int) string {
			if x, ok := m.report.Result(m.columns[i].name, s.ID); ok {
				return cell(s, x.Status)
			}
			return cell(s, NotRun)
		})
	}
	b.WriteString("\n")
	m.totals(row)
	m.legend(&b)
	m.notes(&b)
	_, err := io.WriteString(w, protocol.Redact(b.String()))
	return err
}

func (m *matrix) totals(row func(string, func(int) string)) {
	summaries := make([]Summary, len(m.columns))
	for i, c := range m.columns {
		summaries[i] = m.report.Summary(c.name)
	}
	for _, s := range Statuses {
		if slices.ContainsFunc(summaries, func(sum Summary) bool { return sum.Counts[s] > 0 }) {
			row(symbols[s]+" "+words[s], func(i int) string { return fmt.Sprint(summaries[i].Counts[s]) })
		}
	}
	passed := func(i int) string { return fmt.Sprintf("%d/%d", summaries[i].Counts[Pass], len(m.report.Scenarios)) }
	row("passed", passed)
	row("conformance", func(i int) string {
		if summaries[i].Total == 0 {
			return "not run"
		}
		return string(summaries[i].Conformance)
	})
}

// legend explains the cells that occur.
func (m *matrix) legend(b *strings.Builder) {
	used := map[string]bool{}
	for _, s := range m.report.Scenarios {
		for _, c := range m.columns {
			status := NotRun
			if x, ok := m.report.Result(c.name, s.ID); ok {
				status = x.Status
			}
			used[cell(s, status)] = true
		}
	}
	b.WriteString("\n")
	explain := func(cell, text string) {
		if used[cell] {
			fmt.Fprintf(b, "%s  %s\n", pad(cell, len(measured)), text)
		}
	}
	for _, s := range Statuses {
		explain(symbols[s]+" "+words[s], legend[s])
	}
	explain(measured, "an INFO: nothing is asked, so what was seen is a measurement")
}

func (m *matrix) notes(b *strings.Builder) {
	for _, d := range m.report.Drivers {
		if d.NotRun != "" {
			fmt.Fprintf(b, "\n%s was not run: %s\n", d.Name, d.NotRun)
		}
		if d.Broken != "" {
			fmt.Fprintf(b, "\n%s broke: %s\n", d.Name, d.Broken)
		}
	}
	for _, kind := range []struct {
		status Status
		title  string
	}{{Skip, "Skipped"}, {XFail, "Known failures"}, {FlakyPass, "Known to fail now and then; passed this time"}, {FlakyFail, "Known to fail now and then; failed this time"}, {XPass, "Stale known failures: remove them from known_failures.txt"}} {
		// One reason often holds for several scenarios.
		reasons := map[string][]string{}
		var order []string
		for _, x := range m.report.Results {
			if x.Status == kind.status {
				key := x.Driver + ": " + x.Reason
				if reasons[key] == nil {
					order = append(order, key)
				}
				reasons[key] = append(reasons[key], x.Scenario)
			}
		}
		if len(order) > 0 {
			fmt.Fprintf(b, "\n%s\n", kind.title)
		}
		slices.Sort(order)
		for _, key := range order {
			slices.Sort(reasons[key])
			fmt.Fprintf(b, "  %s\n    %s\n", key, strings.Join(reasons[key], ", "))
		}
	}
	unsteady := slices.DeleteFunc(slices.Clone(m.report.Results), func(x Result) bool { return x.Plays == x.Agreed })
	if len(unsteady) > 0 {
		b.WriteString("\nPlayed again, since nobody expected what was seen, and not the same each time; what most plays said counts\n")
	}
	for _, x := range unsteady {
		fmt.Fprintf(b, "  %s: %s: %s in %d of %d plays\n", x.Driver, x.Scenario, words[x.Status], x.Agreed, x.Plays)
	}
	for _, c := range m.report.End.Crashes {
		fmt.Fprintf(b, "\n%s\n", c)
	}
	for _, s := range m.report.End.Stale {
		fmt.Fprintf(b, "\nStale: %s\n", s)
	}
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}

// WriteFailures writes every result that somebody should look at: what was asked, what happened, and how to see it again.
func (r *Report) WriteFailures(w io.Writer) error {
	scenarios := map[string]Scenario{}
	for _, s := range r.Scenarios {
		scenarios[s.ID] = s
	}
	versions := map[string]string{}
	for _, d := range r.Drivers {
		versions[d.Name] = d.Version()
	}
	for _, x := range r.Results {
		switch x.Status {
		case Pass, Skip, XFail, XPass, FlakyPass, FlakyFail, NotRun:
			continue
		}
		if err := writeFailure(w, x, scenarios[x.Scenario], versions[x.Driver], longestTimeline); err != nil {
			return err
		}
	}
	return nil
}

// longestTimeline is how many lines of a timeline fit on a console among other failures; [Report.WriteFailure] writes all.
const longestTimeline = 40

// WriteFailure writes one result in full, whatever its status.
func (r *Report) WriteFailure(w io.Writer, x Result) error {
	var s Scenario
	for _, candidate := range r.Scenarios {
		if candidate.ID == x.Scenario {
			s = candidate
		}
	}
	version := ""
	for _, d := range r.Drivers {
		if d.Name == x.Driver {
			version = d.Version()
		}
	}
	return writeFailure(w, x, s, version, len(x.Timeline))
}

func writeFailure(w io.Writer, x Result, s Scenario, version string, most int) error {
	var b strings.Builder
	mark, verdict := symbols[x.Status], legend[x.Status]
	if cell(s, x.Status) == measured {
		mark, verdict, _ = strings.Cut(measured, " ")
	}
	head := fmt.Sprintf("%s %s   %s   %s", mark, strings.TrimSpace(x.Driver+" "+version), x.Scenario, s.Level)
	if x.Status != Fail {
		head += "   " + verdict
	}
	gap := max(len("   "), pageWidth-utf8.RuneCountInString(head)-utf8.RuneCountInString(s.Location))
	fmt.Fprintf(&b, "\n%s%s%s\n", head, strings.Repeat(" ", gap), s.Location)
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(&b, "  %-9s %s\n", label, oneLine(text))
		}
	}
	if s.Sentence != "" {
		line("asked", `"`+s.Sentence+`"`)
	}
	line("reading", s.Reading)
	if x.Step != "" {
		line("step", fmt.Sprintf("%s (line %d)", x.Step, x.StepLine))
	}
	line("expected", x.Expected)
	line("actual", x.Actual)
	line("reason", x.Reason)
	if x.Plays > 1 {
		line("plays", fmt.Sprintf("%d of %d ended so", x.Agreed, x.Plays))
	}
	lines := timelineLines(x.Timeline)
	if left := len(lines) - most; left > 0 {
		lines = slices.Concat(lines[:most/2], []string{fmt.Sprintf("… %d more lines …", left)}, lines[len(lines)-most/2:])
	}
	for i, entry := range lines {
		label := ""
		if i == 0 {
			label = "timeline"
		}
		fmt.Fprintf(&b, "  %-9s %s\n", label, entry)
	}
	line("artefacts", x.Artefact)
	line("again", x.Again)
	_, err := io.WriteString(w, protocol.Redact(b.String()))
	return err
}
