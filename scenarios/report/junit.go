package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/entracache/entracache/scenarios/protocol"
)

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name       string          `xml:"name,attr"`
	Tests      int             `xml:"tests,attr"`
	Failures   int             `xml:"failures,attr"`
	Errors     int             `xml:"errors,attr"`
	Skipped    int             `xml:"skipped,attr"`
	Time       string          `xml:"time,attr"`
	Timestamp  string          `xml:"timestamp,attr"`
	Properties []junitProperty `xml:"properties>property"`
	Cases      []junitCase     `xml:"testcase"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Name      string       `xml:"name,attr"`
	Classname string       `xml:"classname,attr"`
	Time      string       `xml:"time,attr"`
	Failure   *junitDetail `xml:"failure,omitempty"`
	Error     *junitDetail `xml:"error,omitempty"`
	Skipped   *junitDetail `xml:"skipped,omitempty"`
	Output    string       `xml:"system-out,omitempty"`
}

type junitDetail struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes the report as JUnit XML: a suite for each driver and feature. A known failure is a skip with its reason, a
// stale one a failure; a missed SHOULD passes, with what was missed as its output.
func (r *Report) WriteJUnit(w io.Writer) error {
	all := junitSuites{Name: "entracache"}
	for _, d := range r.Drivers {
		for _, feature := range r.features() {
			suite := r.junitSuite(d, feature)
			if suite.Tests == 0 {
				continue
			}
			all.Tests += suite.Tests
			all.Failures += suite.Failures
			all.Errors += suite.Errors
			all.Skipped += suite.Skipped
			all.Suites = append(all.Suites, suite)
		}
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	text, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, protocol.Redact(string(text))+"\n")
	return err
}

func (r *Report) features() []string {
	var names []string
	for _, s := range r.Scenarios {
		if len(names) == 0 || names[len(names)-1] != s.Feature {
			names = append(names, s.Feature)
		}
	}
	return names
}

func (r *Report) junitSuite(d Driver, feature string) junitSuite {
	suite := junitSuite{Name: d.Name + ": " + feature, Timestamp: r.Run.Start.UTC().Format("2006-01-02T15:04:05")}
	if d.Info != nil {
		for _, l := range d.Info.Libraries {
			suite.Properties = append(suite.Properties, junitProperty{l.Name, l.Version})
		}
		suite.Properties = append(suite.Properties, junitProperty{"runtime", d.Info.Runtime}, junitProperty{"os", d.Info.OS})
	}
	if len(d.Capabilities) > 0 {
		names := make([]string, len(d.Capabilities))
		for i, capability := range d.Capabilities {
			names[i] = string(capability)
		}
		suite.Properties = append(suite.Properties, junitProperty{"capabilities", strings.Join(names, " ")})
	}
	suite.Properties = append(suite.Properties, junitProperty{"lane", d.Time()}, junitProperty{"feature set", r.Run.FeatureSet})
	seconds := 0.0
	for _, s := range r.Scenarios {
		x, ok := r.Result(d.Name, s.ID)
		if s.Feature != feature || !ok {
			continue
		}
		c := junitCase{Name: s.ID + ": " + s.Title, Classname: d.Name, Time: fmt.Sprintf("%.3f", x.Duration.Seconds())}
		seconds += x.Duration.Seconds()
		suite.Tests++
		switch {
		case x.Status == Skip:
			suite.Skipped++
			c.Skipped = &junitDetail{Message: x.Reason}
		case x.Status == XFail:
			suite.Skipped++
			c.Skipped = &junitDetail{Message: "known failure: " + x.Reason}
		case x.Status == FlakyFail:
			suite.Skipped++
			c.Skipped = &junitDetail{Message: "known to fail now and then: " + x.Reason}
		case x.Status == XPass:
			suite.Failures++
			c.Failure = &junitDetail{Message: "passed, but known_failures.txt lists it: " + x.Reason, Type: string(x.Status)}
		case x.Status == Fail:
			suite.Failures++
			c.Failure = &junitDetail{Message: fmt.Sprintf("expected %s; actual: %s", x.Expected, x.Actual), Type: string(s.Level), Text: r.failureText(x)}
		case x.Status.Broken():
			suite.Errors++
			c.Error = &junitDetail{Message: x.Reason, Type: string(x.Status), Text: r.failureText(x)}
		case x.Status == Warn:
			c.Output = r.failureText(x)
		}
		suite.Cases = append(suite.Cases, c)
	}
	suite.Time = fmt.Sprintf("%.3f", seconds)
	return suite
}

func (r *Report) failureText(x Result) string {
	var b strings.Builder
	_ = r.WriteFailure(&b, x) // a strings.Builder does not fail
	return b.String()
}
