package scenarios

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cucumber/godog"
)

// failure is how a scenario ended when it did not pass.
type failure struct {
	step Step
	err  error
}

// setupAllowance is what a scenario may take on the wall clock beyond the time that its steps let pass.
const setupAllowance = 3 * time.Minute

// play runs one scenario in its world. It is one godog run, of a feature that holds this scenario only: so a name, a line or an
// Examples row can never select another scenario or none. godog is strict, and the run is checked to have begun exactly one
// scenario and to have passed every step.
func play(w *World) *failure {
	begun, passed := 0, 0
	var failed *failure
	suite := godog.TestSuite{
		Name: w.scenario.ID,
		ScenarioInitializer: func(sc *godog.ScenarioContext) {
			begun++
			register(sc, w)
			sc.StepContext().After(func(ctx context.Context, st *godog.Step, status godog.StepResultStatus, err error) (context.Context, error) {
				switch {
				case status == godog.StepPassed:
					passed++
				case failed == nil && status != godog.StepSkipped:
					if err == nil {
						err = fmt.Errorf("step ended as %s", status)
					}
					failed = &failure{step: w.stepOf(passed, st.Text), err: err}
				}
				return ctx, nil
			})
		},
		Options: &godog.Options{
			Format:          "pretty",
			Output:          io.Discard,
			Strict:          true,
			NoColors:        true,
			FeatureContents: []godog.Feature{{Name: w.scenario.File, Contents: w.scenario.render()}},
		},
	}
	status := suite.Run()
	switch {
	case failed != nil:
		return failed
	case begun != 1 || passed != len(w.scenario.Steps) || status != 0:
		return &failure{err: fmt.Errorf("the Gherkin runner began %d scenarios and passed %d of %d steps (status %d): expected one scenario, all its steps and status 0; this is a fault of the harness",
			begun, passed, len(w.scenario.Steps), status)}
	}
	return nil
}

// stepOf finds the step's line in the feature file: godog's own lines are those of the rendered text.
func (w *World) stepOf(index int, text string) Step {
	if index < len(w.scenario.Steps) && w.scenario.Steps[index].Text == text {
		return w.scenario.Steps[index]
	}
	return Step{Text: text, Line: w.scenario.Line}
}

// render writes the expanded scenario back as Gherkin. No step has a table or a doc string: [Load] refuses them.
func (s *Scenario) render() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Feature: %s\n\n  Scenario: %s\n", s.Feature, s.ID)
	for _, step := range s.Steps {
		fmt.Fprintf(&b, "    * %s\n", step.Text)
	}
	return b.Bytes()
}

// limit is when the scenario counts as stuck, on the wall clock.
func (s *Scenario) limit(l Lane) time.Duration {
	total := setupAllowance
	for _, step := range s.Steps {
		total += l.Wall(timeIn(step.Text))
	}
	return total
}

// timeIn is the scenario time that a step lets pass at most: the largest number of minutes or days that it names.
func timeIn(text string) time.Duration {
	var most time.Duration
	words := strings.Fields(text)
	for i, word := range words[:max(0, len(words)-1)] {
		var n int
		unit := time.Minute
		switch {
		case strings.HasPrefix(words[i+1], "minute"):
		case strings.HasPrefix(words[i+1], "day"):
			unit = 24 * time.Hour
		default:
			continue
		}
		if _, err := fmt.Sscanf(word, "%d", &n); err == nil {
			most = max(most, time.Duration(n)*unit)
		}
	}
	return most
}

// asMismatch finds the verdict against the library in a step's error.
func asMismatch(err error) (*mismatch, bool) {
	var m *mismatch
	ok := errors.As(err, &m)
	return m, ok
}
