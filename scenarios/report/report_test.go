package report

import (
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/scenarios/protocol"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), got, "run go test -update if the change is meant")
}

func rendered(t *testing.T, write func(io.Writer) error) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, write(&b))
	return b.String()
}

const token = "eyJhbGciOiJSUzI1NiJ9.eyJvaWQiOiIxIn0.c2lnbmF0dXJl"

var start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// sample is a run with every status in it. It is written, and the text of the file returned with the report.
func sample(t *testing.T) (*Report, string) {
	t.Helper()
	var file strings.Builder
	w := NewWriter(&file, Run{Version: "0.1.0", FeatureSet: "2026-11", Start: start, Lane: "auto"})
	for _, library := range [][2]string{{"go-redis", "v9.23.0"}, {"redis-py", "7.1.0"}} {
		w.Driver(Driver{
			Name: library[0], Lane: "scaled", Speed: 360, Capabilities: []protocol.Capability{protocol.CapClientSecret, protocol.CapRESP3},
			Info: &protocol.DriverInfo{Name: library[0], Language: "x", Runtime: "r1", OS: "linux/amd64",
				Libraries: []protocol.Library{{Name: "lib-" + library[0], Version: library[1]}, {Name: "msal", Version: "1.2"}}},
		})
	}
	w.Driver(Driver{Name: "StackExchange.Redis", NotRun: "needs .NET (dotnet --version): \"dotnet\" was not found"})
	for _, s := range []Scenario{
		{ID: "refresh.idle-pool", Title: "An idle pooled connection is renewed too", Feature: "A connection outlives its token", Level: Must,
			Location: "features/refresh.feature:17", Sentence: "…sends a new Microsoft Entra token at least three minutes before token expiry…"},
		{ID: "refresh.stagger", Title: "AUTHs are spread", Feature: "A connection outlives its token", Level: Should, Location: "features/refresh.feature:30"},
		{ID: "refresh.lead", Title: "How early", Feature: "A connection outlives its token", Level: Info, Location: "features/refresh.feature:40"},
		{ID: "keys.disabled", Title: "Disabling keys cuts <all>", Feature: "Access keys", Level: Must, Location: "features/keys.feature:5"},
		{ID: "keys.primary", Title: "The primary key", Feature: "Access keys", Level: Must, Location: "features/keys.feature:15"},
	} {
		w.Scenario(s)
	}
	at := func(minutes, tenths int) time.Duration {
		return time.Duration(minutes)*time.Minute + time.Duration(tenths)*100*time.Millisecond
	}
	for _, x := range []Result{
		{Driver: "go-redis", Scenario: "refresh.idle-pool", Status: Fail, Duration: 6 * time.Second,
			Expected: "AUTH on connection 2 with a newer token by +57m00s",
			Actual:   "none; the cache closed connection 2 at +60m00s: token expired",
			Again:    "go run ./cmd/entracache verify go-redis --scenario refresh.idle-pool --trace",
			Timeline: Merge([]Entry{
				{At: at(42, 0), Source: "entra", Text: "← client_credentials https://redis.azure.com/.default → jwt#c3d4 (exp +102m)"},
				{At: at(0, 1), Source: "cache", Text: "2 ← HELLO 3 AUTH 6497c918… jwt#a1b2 (exp +60m) → ok"},
				{At: at(60, 0), Source: "cache", Text: "2 ✕ closed: token jwt#a1b2 expired"},
				{At: at(42, 1), Source: "cache", Text: "1 ← AUTH 6497c918… jwt#c3d4 → ok"},
			})},
		{Driver: "go-redis", Scenario: "refresh.stagger", Status: Warn, Expected: "a spread", Actual: "none"},
		{Driver: "go-redis", Scenario: "refresh.lead", Status: Warn, Actual: "at 75 %"},
		{Driver: "go-redis", Scenario: "keys.disabled", Status: Pass, Duration: 1500 * time.Millisecond},
		{Driver: "go-redis", Scenario: "keys.primary", Status: XPass, Reason: "was refused; https://example.org/1"},
		{Driver: "redis-py", Scenario: "refresh.idle-pool", Status: XFail, Reason: "closed at expiry; https://example.org/2"},
		{Driver: "redis-py", Scenario: "refresh.stagger", Status: Skip, Reason: "does not declare pool"},
		{Driver: "redis-py", Scenario: "refresh.lead", Status: Timeout, Reason: "did not end within 30s"},
		{Driver: "redis-py", Scenario: "keys.disabled", Status: Error, Step: "Given x", StepLine: 6, Reason: "driver redis-py: printed\nAUTH me " + token},
		{Driver: "redis-py", Scenario: "keys.primary", Status: HarnessError, Reason: "harness error: \x01"},
	} {
		w.Result(x)
	}
	report, err := w.End(End{Complete: true, Stale: []string{`clients/go-redis/known_failures.txt:3: "gone.*" names no scenario`}})
	require.NoError(t, err)
	return report, file.String()
}

// The failure looks as the design shows it.
func TestAFailureHasTheShapeOfTheDesign(t *testing.T) {
	report, _ := sample(t)
	const want = `
✗ go-redis v9.23.0   refresh.idle-pool   MUST                                   features/refresh.feature:17
  asked     "…sends a new Microsoft Entra token at least three minutes before token expiry…"
  expected  AUTH on connection 2 with a newer token by +57m00s
  actual    none; the cache closed connection 2 at +60m00s: token expired
  timeline  +0m00.1s  cache  2 ← HELLO 3 AUTH 6497c918… jwt#a1b2 (exp +60m)        → ok
            +42m00.0s entra    ← client_credentials https://redis.azure.com/.default → jwt#c3d4 (exp +102m)
            +42m00.1s cache  1 ← AUTH 6497c918… jwt#c3d4                            → ok
            +60m00.0s cache  2 ✕ closed: token jwt#a1b2 expired
  again     go run ./cmd/entracache verify go-redis --scenario refresh.idle-pool --trace
`
	got := rendered(t, func(w io.Writer) error { return report.WriteFailure(w, report.Results[0]) })
	// In the design the arrows of two lines stand a few columns off; everything else is compared as it is.
	squeeze := func(text string) []string {
		var lines []string
		for _, line := range strings.Split(text, "\n") {
			if head, outcome, found := strings.Cut(line, " → "); found {
				line = strings.TrimRight(head, " ") + " → " + outcome
			}
			lines = append(lines, line)
		}
		return lines
	}
	assert.Equal(t, squeeze(want), squeeze(got))
	golden(t, "failures.txt", rendered(t, report.WriteFailures))
}

func TestGoldenFiles(t *testing.T) {
	report, file := sample(t)
	golden(t, "matrix.txt", rendered(t, report.WriteMatrix))
	golden(t, "junit.xml", rendered(t, report.WriteJUnit))
	golden(t, "report.jsonl", file)
	for _, text := range []string{file, rendered(t, report.WriteFailures), rendered(t, report.WriteMatrix), rendered(t, report.WriteJUnit)} {
		assert.NotContains(t, text, "eyJ", "no token leaves the program")
	}
}

func TestJUnitAddsUp(t *testing.T) {
	report, _ := sample(t)
	var all junitSuites
	require.NoError(t, xml.Unmarshal([]byte(rendered(t, report.WriteJUnit)), &all))
	assert.Equal(t, []int{10, 2, 3, 2}, []int{all.Tests, all.Failures, all.Errors, all.Skipped})
	var tests, failures, errors, skipped int
	for _, suite := range all.Suites {
		for _, test := range suite.Cases {
			tests++
			for outcome, count := range map[*junitDetail]*int{test.Failure: &failures, test.Error: &errors, test.Skipped: &skipped} {
				if outcome != nil {
					*count++
				}
			}
		}
	}
	assert.Equal(t, []int{10, 2, 3, 2}, []int{tests, failures, errors, skipped})
}

func TestWhatWasWrittenIsRead(t *testing.T) {
	report, file := sample(t)
	back, err := Read(strings.NewReader(file))
	require.NoError(t, err)
	assert.Equal(t, rendered(t, report.WriteMatrix), rendered(t, back.WriteMatrix))
	assert.Equal(t, rendered(t, report.WriteFailures), rendered(t, back.WriteFailures))
	assert.Equal(t, report.End, back.End)
	assert.Equal(t, 3, back.End.Exit)
}

func TestAReportThatIsNotWholeIsRefused(t *testing.T) {
	_, file := sample(t)
	lines := strings.SplitAfter(strings.TrimSuffix(file, "\n"), "\n")
	last := len(lines) - 1
	without := func(at int) string {
		return strings.Join(append(append([]string{}, lines[:at]...), lines[at+1:]...), "")
	}
	for name, test := range map[string]struct{ file, says string }{
		"empty":              {"", "no end line after 0 lines"},
		"no end":             {without(last), "no end line after 19 lines: the run was cut short"},
		"a cut line":         {file[:len(file)-20], "line 20: not a JSON object"},
		"no run line":        {without(0), "no run line"},
		"a result less":      {without(last - 1), "counts 10 results"},
		"a result twice":     {strings.Join(lines[:last], "") + lines[last-1] + lines[last], `two results of scenario "keys.primary"`},
		"unknown driver":     {without(1), `driver "go-redis", which the report does not have`},
		"unknown scenario":   {without(4), `scenario "refresh.idle-pool", which the report does not have`},
		"unknown status":     {strings.Replace(file, `"status":"timeout"`, `"status":"slow"`, 1), `unknown status "slow"`},
		"unknown level":      {strings.Replace(file, `"level":"INFO"`, `"level":"MAY"`, 1), `has the level "MAY"`},
		"unknown line":       {strings.Replace(file, `{"line":"scenario"`, `{"line":"note"`, 1), `unknown kind of line "note"`},
		"something after it": {file + lines[0], "line 21: there is something after the end line"},
		"another exit code":  {strings.Replace(file, `"exit":3`, `"exit":0`, 1), "says exit 0, but its results make it 3"},
		"a changed verdict":  {strings.Replace(file, `"status":"fail"`, `"status":"pass"`, 1), "the end line counts 10 results"},
	} {
		t.Run(name, func(t *testing.T) {
			require.True(t, name == "empty" || test.file != file)
			_, err := Read(strings.NewReader(test.file))
			require.ErrorContains(t, err, test.says)
			assert.NotContains(t, err.Error(), "\n")
		})
	}
	report, err := Read(strings.NewReader(without(last)))
	require.Error(t, err)
	assert.Len(t, report.Results, 10, "finished results are kept")
}

func TestACompleteReportLacksNothing(t *testing.T) {
	w := NewWriter(io.Discard, Run{Version: "v"})
	w.Driver(Driver{Name: "d"})
	w.Driver(Driver{Name: "absent", NotRun: "needs .NET"})
	w.Scenario(Scenario{ID: "a", Level: Must})
	w.Scenario(Scenario{ID: "b", Level: Must})
	w.Result(Result{Driver: "d", Scenario: "a", Status: Pass})
	report, err := w.End(End{Complete: true})
	require.ErrorContains(t, err, `driver "d" has no result of scenario "b"`)
	assert.Equal(t, 3, report.End.Exit)
}

func TestTheWriterRefusesAMistakenLine(t *testing.T) {
	for name, wrong := range map[string]func(*Writer){
		"result twice": func(w *Writer) {
			w.Result(Result{Driver: "d", Scenario: "a", Status: Pass})
			w.Result(Result{Driver: "d", Scenario: "a", Status: Fail})
		},
		"no status":      func(w *Writer) { w.Result(Result{Driver: "d", Scenario: "a"}) },
		"scenario twice": func(w *Writer) { w.Scenario(Scenario{ID: "a", Level: Must}) },
		"driver twice":   func(w *Writer) { w.Driver(Driver{Name: "d"}) },
	} {
		t.Run(name, func(t *testing.T) {
			w := NewWriter(io.Discard, Run{Version: "v"})
			w.Driver(Driver{Name: "d"})
			w.Scenario(Scenario{ID: "a", Level: Must})
			wrong(w)
			_, err := w.End(End{})
			assert.Error(t, err)
		})
	}
}

func TestExitCodeAndConformance(t *testing.T) {
	for name, test := range map[string]struct {
		must        []Status
		should      Status
		stale       bool
		incomplete  bool
		exit        int
		conformance Conformance
	}{
		"all pass":            {must: []Status{Pass, Pass}, exit: 0, conformance: Conformant},
		"a SHOULD missed":     {must: []Status{Pass}, should: Warn, exit: 0, conformance: Conformant},
		"a SHOULD skipped":    {must: []Status{Pass}, should: Skip, exit: 0, conformance: Conformant},
		"a MUST skipped":      {must: []Status{Pass, Skip}, exit: 0, conformance: Partial},
		"a MUST missed":       {must: []Status{Pass, Fail, Skip}, exit: 1, conformance: Nonconformant},
		"known":               {must: []Status{Pass, XFail}, exit: 0, conformance: Nonconformant},
		"known but passes":    {must: []Status{XPass}, exit: 1, conformance: Conformant},
		"stale line":          {must: []Status{Pass}, stale: true, exit: 1, conformance: Conformant},
		"driver broke":        {must: []Status{Pass, Error, Fail}, exit: 3, conformance: Unknown},
		"harness broke":       {must: []Status{HarnessError}, exit: 3, conformance: Unknown},
		"no end":              {must: []Status{Timeout}, exit: 3, conformance: Unknown},
		"cut short":           {must: []Status{Pass}, incomplete: true, exit: 3, conformance: Conformant},
		"nothing but skipped": {must: []Status{Skip}, exit: 3, conformance: Partial},
		"nothing":             {exit: 3, conformance: Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			report := &Report{Drivers: []Driver{{Name: "d"}}, End: End{Complete: !test.incomplete}}
			add := func(level Level, status Status) {
				id := fmt.Sprint(len(report.Scenarios))
				require.NoError(t, report.addScenario(Scenario{ID: id, Level: level}))
				require.NoError(t, report.addResult(Result{Driver: "d", Scenario: id, Status: status}))
			}
			for _, status := range test.must {
				add(Must, status)
			}
			if test.should != "" {
				add(Should, test.should)
			}
			if test.stale {
				report.End.Stale = []string{"x"}
			}
			assert.Equal(t, test.exit, report.ExitCode())
			assert.Equal(t, test.conformance, report.Summary("d").Conformance)
		})
	}
}

func TestManyWriteAtOnce(t *testing.T) {
	const scenarios, drivers = 40, 5
	var file strings.Builder
	w := NewWriter(&file, Run{Version: "v"})
	for s := range scenarios {
		w.Scenario(Scenario{ID: fmt.Sprint(s), Level: Must})
	}
	var group sync.WaitGroup
	for d := range drivers {
		name := fmt.Sprint("d", d)
		w.Driver(Driver{Name: name})
		for s := range scenarios {
			group.Go(func() { w.Result(Result{Driver: name, Scenario: fmt.Sprint(s), Status: Pass}) })
		}
	}
	group.Wait()
	_, err := w.End(End{Complete: true})
	require.NoError(t, err)
	report, err := Read(strings.NewReader(file.String()))
	require.NoError(t, err)
	assert.Len(t, report.Results, scenarios*drivers)
	assert.Equal(t, 0, report.End.Exit)
}

func TestADiskThatIsFullIsReported(t *testing.T) {
	r, w := io.Pipe()
	r.Close()
	out := NewWriter(w, Run{Version: "v"})
	_, err := out.End(End{})
	assert.ErrorIs(t, err, io.ErrClosedPipe)
}

func TestTimelineColumns(t *testing.T) {
	got := rendered(t, func(w io.Writer) error {
		return WriteTimeline(w, "> ", []Entry{
			{At: -200 * time.Millisecond, Source: "harness", Text: "starts\nhere"},
			{At: 0, Source: "cache", Text: "7 opened, TLS 1.3"},
			{At: 59*time.Second + 960*time.Millisecond, Source: "cache", Text: "112 ← AUTH → ok"},
			{At: 180 * time.Minute, Source: "stderr", Text: "12 monkeys → gone"},
		})
	})
	assert.Equal(t, `> -0m00.2s   harness      starts here
> +0m00.0s   cache      7 opened, TLS 1.3
> +1m00.0s   cache    112 ← AUTH     → ok
> +180m00.0s stderr       12 monkeys → gone
`, got)
}

func TestLongTimelineIsCutOnTheConsoleOnly(t *testing.T) {
	r, _ := sample(t)
	for i := range r.Results {
		if r.Results[i].Status == Fail {
			r.Results[i].Timeline = nil
			for k := range 100 {
				r.Results[i].Timeline = append(r.Results[i].Timeline, Entry{At: time.Duration(k) * time.Minute, Source: "cache", Text: "tick"})
			}
			var all strings.Builder
			require.NoError(t, r.WriteFailure(&all, r.Results[i]))
			assert.Equal(t, 100, strings.Count(all.String(), "tick"))
		}
	}
	var cut strings.Builder
	require.NoError(t, r.WriteFailures(&cut))
	assert.Equal(t, longestTimeline, strings.Count(cut.String(), "tick"))
	assert.Contains(t, cut.String(), "… 60 more lines …")
}
