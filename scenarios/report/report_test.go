package report

import (
	"bytes"
	"encoding/xml"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/scenarios/protocol"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sample is a report with every status.
func sample(t *testing.T) (*Report, string) {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b, Run{Version: "0.1", FeatureSet: "2026-11", Start: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Lane: "scaled", Speed: 360})
	info := func(name, version string) *protocol.DriverInfo {
		return &protocol.DriverInfo{Name: name, Language: "Go", Runtime: "go1.26", OS: "linux/amd64", Libraries: []protocol.Library{{Name: "lib/" + name, Version: version}}}
	}
	w.Driver(Driver{Name: "one", Info: info("one", "v1.0.0")})
	w.Driver(Driver{Name: "two", Info: info("two", "v2.10.0")})
	w.Driver(Driver{Name: "three", NotRun: "needs .NET"})
	for _, s := range []Scenario{
		{ID: "a.first", Title: "First", Feature: "Feature A", Location: "features/a.feature:3", Level: Must, Sentence: "It must."},
		{ID: "a.second", Title: "Second", Feature: "Feature A", Location: "features/a.feature:9", Level: Should, Sentence: "It should.", Reading: "As we read it."},
		{ID: "b.third", Title: "Third", Feature: "Feature B", Location: "features/b.feature:3", Level: Must, Sentence: "It must, too."},
	} {
		w.Scenario(s)
	}
	timeline := []Entry{{At: 100 * time.Millisecond, Source: "cache", Text: "1 opened, TLS 1.3"}, {At: 60 * time.Minute, Source: "cache", Text: "1 ✕ closed: token-expired"}}
	w.Result(Result{Driver: "one", Scenario: "a.first", Status: Pass, Duration: time.Second})
	w.Result(Result{Driver: "one", Scenario: "a.second", Status: Warn, Expected: "one", Actual: "two", Step: "it is one", StepLine: 12, Again: "again"})
	w.Result(Result{Driver: "one", Scenario: "b.third", Status: Fail, Expected: "AUTH by +57m00.0s", Actual: "none", Step: "it has sent AUTH", StepLine: 6, Timeline: timeline, Again: "again"})
	w.Result(Result{Driver: "two", Scenario: "a.first", Status: XFail, Reason: "as on the wire; https://example.test/1"})
	w.Result(Result{Driver: "two", Scenario: "a.second", Status: Skip, Reason: "does not declare pool"})
	w.Result(Result{Driver: "two", Scenario: "b.third", Status: XPass, Reason: "stale"})
	r, err := w.End(End{Complete: true, Duration: time.Minute})
	require.NoError(t, err)
	return r, b.String()
}

func golden(t *testing.T, name string, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), got, "run with -update and look at the difference")
}

func TestMatrix(t *testing.T) {
	r, _ := sample(t)
	var b strings.Builder
	require.NoError(t, r.WriteMatrix(&b))
	golden(t, "matrix.txt", b.String())
}

func TestFailures(t *testing.T) {
	r, _ := sample(t)
	var b strings.Builder
	require.NoError(t, r.WriteFailures(&b))
	golden(t, "failures.txt", b.String())
}

func TestJUnit(t *testing.T) {
	r, _ := sample(t)
	var b bytes.Buffer
	require.NoError(t, r.WriteJUnit(&b))
	golden(t, "junit.xml", b.String())
	var parsed struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Skipped  int `xml:"skipped,attr"`
		Errors   int `xml:"errors,attr"`
	}
	require.NoError(t, xml.Unmarshal(b.Bytes(), &parsed))
	assert.Equal(t, []int{6, 2, 2, 0}, []int{parsed.Tests, parsed.Failures, parsed.Skipped, parsed.Errors})
}

func TestReadGivesBackWhatWasWritten(t *testing.T) {
	r, text := sample(t)
	back, err := Read(strings.NewReader(text))
	require.NoError(t, err)
	var a, b strings.Builder
	require.NoError(t, r.WriteMatrix(&a))
	require.NoError(t, back.WriteMatrix(&b))
	assert.Equal(t, a.String(), b.String())
	assert.Equal(t, r.Results, back.Results)
	assert.Equal(t, 1, back.End.Exit)
}

func TestReadRefuses(t *testing.T) {
	_, text := sample(t)
	lines := strings.SplitAfter(strings.TrimSpace(text), "\n")
	without := func(i int) string { return strings.Join(append(append([]string{}, lines[:i]...), lines[i+1:]...), "") }
	last := len(lines) - 1
	for name, c := range map[string]struct{ text, want string }{
		"no end line":           {strings.Join(lines[:last], ""), "no end line"},
		"a missing result":      {without(last - 1), "lines are missing"},
		"no run line":           {without(0), "no run line"},
		"nothing":               {"", "no end line after 0 lines"},
		"a line cut in half":    {text[:len(text)/2], "not a JSON object"},
		"an unknown line":       {`{"line":"nonsense"}`, `unknown kind of line "nonsense"`},
		"two reports in a file": {text + text, "something after the end line"},
		"a changed status":      {strings.Replace(text, `"status":"fail"`, `"status":"pass"`, 1), "the end line counts"},
	} {
		_, err := Read(strings.NewReader(c.text))
		assert.ErrorContains(t, err, c.want, name)
	}
}

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		statuses []Status
		want     int
	}{
		{[]Status{Pass, XFail, Warn, Skip}, 0},
		{[]Status{Pass, Fail}, 1},
		{[]Status{Pass, XPass}, 1},
		{[]Status{Pass, Fail, Error}, 3},
		{[]Status{Pass, HarnessError}, 3},
		{[]Status{Pass, Timeout}, 3},
		{[]Status{Pass, NotRun}, 3},
		{[]Status{Skip, Skip}, 3},
		{nil, 3},
	} {
		r := &Report{}
		for _, s := range c.statuses {
			r.Results = append(r.Results, Result{Status: s})
		}
		assert.Equal(t, c.want, r.ExitCode(), "%v", c.statuses)
	}
	r := &Report{Results: []Result{{Status: Pass}}, End: End{Stale: []string{"a line that names nothing"}}}
	assert.Equal(t, 1, r.ExitCode())
	r = &Report{Results: []Result{{Status: Pass}}, Drivers: []Driver{{Name: "x", Broken: "did not start"}}}
	assert.Equal(t, 3, r.ExitCode())
}

func TestConformance(t *testing.T) {
	for _, c := range []struct {
		must, should Status
		want         Conformance
	}{
		{Pass, Pass, Conformant}, {Pass, Warn, Conformant}, {Pass, Skip, Conformant}, {Skip, Pass, Partial},
		{Fail, Pass, Nonconformant}, {XFail, Pass, Nonconformant}, {Error, Pass, Unknown}, {NotRun, Fail, Unknown},
	} {
		r := &Report{
			Scenarios: []Scenario{{ID: "m", Level: Must}, {ID: "s", Level: Should}},
			Results:   []Result{{Driver: "d", Scenario: "m", Status: c.must}, {Driver: "d", Scenario: "s", Status: c.should}},
		}
		assert.Equal(t, c.want, r.Summary("d").Conformance, "%s %s", c.must, c.should)
	}
	assert.Equal(t, Unknown, (&Report{}).Summary("d").Conformance)
}

func TestMergeKeepsTheOrderOfWhatIsSimultaneous(t *testing.T) {
	got := Merge([]Entry{{At: 2, Text: "c"}, {At: 1, Text: "a"}, {At: 1, Text: "b"}})
	assert.Equal(t, "abc", got[0].Text+got[1].Text+got[2].Text)
}

func TestFormatOffset(t *testing.T) {
	assert.Equal(t, "42m00.1s", FormatOffset(42*time.Minute+100*time.Millisecond))
	assert.Equal(t, "0m00.0s", FormatOffset(0))
	assert.Equal(t, "1m00.0s", FormatOffset(59*time.Second+990*time.Millisecond))
	assert.Equal(t, "-3m05.0s", FormatOffset(-3*time.Minute-5*time.Second))
}
