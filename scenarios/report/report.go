package report

import (
	"fmt"
	"slices"
	"time"

	"github.com/entracache/entracache/scenarios/protocol"
)

// Level says what a missed scenario means.
type Level string

// The levels.
const (
	Must   Level = "MUST"   // missing it makes the library nonconformant
	Should Level = "SHOULD" // missing it is a warning
	Info   Level = "INFO"   // measured, never held against the library
)

// Levels is the closed list.
var Levels = []Level{Must, Should, Info}

// Status is how a scenario ended for a driver.
type Status string

// The statuses. A failure is never rewritten to a skip.
const (
	Pass         Status = "pass"
	Fail         Status = "fail"          // a MUST was missed
	Warn         Status = "warn"          // a SHOULD or INFO was missed
	XFail        Status = "xfail"         // missed, as known_failures.txt says
	XPass        Status = "xpass"         // met, though known_failures.txt says that it is missed: the list is stale
	FlakyPass    Status = "flaky-pass"    // met this time; known_flaky.txt says that it is missed now and then
	FlakyFail    Status = "flaky-fail"    // missed this time, as known_flaky.txt says
	Skip         Status = "skip"          // the driver lacks a capability, which is named
	Error        Status = "error"         // the driver crashed, hung up, lied or broke the protocol
	HarnessError Status = "harness-error" // the harness itself is at fault
	Timeout      Status = "timeout"       // the scenario did not end in its time
	NotRun       Status = "not-run"       // the run ended before its turn
)

// Statuses is the closed list, the good ones first.
var Statuses = []Status{Pass, XFail, FlakyPass, FlakyFail, Skip, Warn, Fail, XPass, Error, HarnessError, Timeout, NotRun}

// Broken tells whether the harness or the driver, and not the library, is the cause.
func (s Status) Broken() bool {
	return s == Error || s == HarnessError || s == Timeout || s == NotRun
}

// Verdict is what a status says of the library, whether it was expected or not.
type Verdict string

// The verdicts.
const (
	Met    Verdict = "met"
	Missed Verdict = "missed"
	None   Verdict = "" // the library was not judged
)

// Verdict of the status.
func (s Status) Verdict() Verdict {
	switch s {
	case Pass, XPass, FlakyPass:
		return Met
	case Fail, Warn, XFail, FlakyFail:
		return Missed
	default:
		return None
	}
}

// Run is the first line of a report.
type Run struct {
	Version     string    `json:"version"`
	FeatureSet  string    `json:"feature_set"`
	FeatureHash string    `json:"feature_hash"`
	Start       time.Time `json:"start"`
	Host        string    `json:"host"`
	// Lane is what was asked for: a lane, or auto, which takes for each driver the one that suits it.
	Lane     string   `json:"lane"`
	Parallel int      `json:"parallel"`
	Filters  []string `json:"filters,omitempty"`
}

// Driver is a client that was asked for. NotRun says why it was not run; it is empty where it was.
type Driver struct {
	Name         string                `json:"name"`
	Info         *protocol.DriverInfo  `json:"info,omitempty"`
	Capabilities []protocol.Capability `json:"capabilities,omitempty"`
	NotRun       string                `json:"not_run,omitempty"`
	// Lane and Speed say how time passed for it.
	Lane  string  `json:"lane,omitempty"`
	Speed float64 `json:"speed,omitempty"`
	// Broken says what was wrong with the driver as a whole: it did not start, it lied, it ended early.
	Broken string `json:"broken,omitempty"`
}

// Version is the version of the client library under test.
func (d Driver) Version() string {
	if d.Info == nil || len(d.Info.Libraries) == 0 {
		return ""
	}
	return d.Info.Libraries[0].Version
}

// Time is the lane and its speed in a few words, such as "scaled ×360".
func (d Driver) Time() string {
	if d.Lane == "" {
		return ""
	}
	return fmt.Sprintf("%s ×%.4g", d.Lane, d.Speed)
}

// Scenario is a scenario that was asked for.
type Scenario struct {
	ID          string                `json:"id"`
	Title       string                `json:"title"`
	Feature     string                `json:"feature"`
	Location    string                `json:"location"`
	Level       Level                 `json:"level"`
	Requirement string                `json:"requirement"`
	Sentence    string                `json:"sentence"`
	Reading     string                `json:"reading,omitempty"`
	Tags        []string              `json:"tags,omitempty"`
	Needs       []protocol.Capability `json:"needs,omitempty"`
}

// Result is one scenario played against one driver.
type Result struct {
	Driver   string        `json:"driver"`
	Scenario string        `json:"scenario"`
	Status   Status        `json:"status"`
	Duration time.Duration `json:"duration_ns"`
	// Step and StepLine name the step that failed.
	Step     string `json:"step,omitempty"`
	StepLine int    `json:"step_line,omitempty"`
	Expected string `json:"expected,omitempty"`
	Actual   string `json:"actual,omitempty"`
	// Reason is why it was skipped, why it is a known failure, or what broke.
	Reason   string  `json:"reason,omitempty"`
	Timeline []Entry `json:"timeline,omitempty"`
	Artefact string  `json:"artefact,omitempty"`
	Again    string  `json:"again,omitempty"`
	// Plays is how often the scenario was played because nobody expected its verdict, and Agreed how many of the plays came to this
	// one. Both are 0 where the first play was believed.
	Plays  int `json:"plays,omitempty"`
	Agreed int `json:"agreed,omitempty"`
}

// End is the last line of a report.
type End struct {
	Complete bool           `json:"complete"`
	Results  int            `json:"results"`
	Counts   map[Status]int `json:"counts"`
	// Stale are lines of known_failures.txt that match no scenario.
	Stale []string `json:"stale_known_failures,omitempty"`
	// Crashes tell of driver processes that ended while scenarios were playing. What was lost was played again.
	Crashes  []string      `json:"crashes,omitempty"`
	Duration time.Duration `json:"duration_ns"`
	Exit     int           `json:"exit"`
}

// Report is a whole report.
type Report struct {
	Run       Run
	Drivers   []Driver
	Scenarios []Scenario
	Results   []Result
	End       End
}

// Result finds the result of a scenario for a driver.
func (r *Report) Result(driver, scenario string) (Result, bool) {
	i := slices.IndexFunc(r.Results, func(x Result) bool { return x.Driver == driver && x.Scenario == scenario })
	if i < 0 {
		return Result{}, false
	}
	return r.Results[i], true
}

// Conformance is the level that a driver reached.
type Conformance string

// The levels of conformance.
const (
	Conformant    Conformance = "conformant"    // every MUST passed, none was skipped
	Partial       Conformance = "partial"       // no MUST was missed, some were skipped
	Nonconformant Conformance = "nonconformant" // a MUST was missed, known or not, or is missed now and then
	Unknown       Conformance = "unknown"       // the driver or the harness broke, or it was not run
)

// Summary counts what a driver reached.
type Summary struct {
	Conformance Conformance
	Counts      map[Status]int
	Total       int
}

// Summary of one driver.
func (r *Report) Summary(driver string) Summary {
	s := Summary{Conformance: Conformant, Counts: map[Status]int{}}
	levels := map[string]Level{}
	for _, sc := range r.Scenarios {
		levels[sc.ID] = sc.Level
	}
	worse := func(c Conformance) {
		order := []Conformance{Conformant, Partial, Nonconformant, Unknown}
		if slices.Index(order, c) > slices.Index(order, s.Conformance) {
			s.Conformance = c
		}
	}
	for _, x := range r.Results {
		if x.Driver != driver {
			continue
		}
		s.Total++
		s.Counts[x.Status]++
		must := levels[x.Scenario] == Must
		switch {
		case x.Status.Broken():
			worse(Unknown)
		case must && (x.Status == Fail || x.Status == XFail || x.Status == FlakyPass || x.Status == FlakyFail):
			worse(Nonconformant)
		case must && x.Status == Skip:
			worse(Partial)
		}
	}
	if s.Total == 0 {
		s.Conformance = Unknown
	}
	return s
}

// ExitCode is 0 when everything is as expected: passes, warnings, skips by capability and known failures that still fail; 1 when a
// library is not as expected, or a known failure is stale; 3 when the harness or a driver broke, the run was cut short, or no scenario was
// played.
func (r *Report) ExitCode() int {
	if !r.End.Complete {
		return 3
	}
	played, code := 0, 0
	for _, d := range r.Drivers {
		if d.Broken != "" {
			return 3
		}
	}
	for _, x := range r.Results {
		switch {
		case x.Status.Broken():
			return 3
		case x.Status == Fail || x.Status == XPass:
			code = 1
		}
		if x.Status != Skip {
			played++
		}
	}
	if played == 0 {
		return 3
	}
	if len(r.End.Stale) > 0 {
		code = 1
	}
	return code
}
