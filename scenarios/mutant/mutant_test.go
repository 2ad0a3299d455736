package mutant_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/features"
	"github.com/entracache/entracache/scenarios"
	"github.com/entracache/entracache/scenarios/driver"
	"github.com/entracache/entracache/scenarios/mutant"
	"github.com/entracache/entracache/scenarios/report"
)

// play plays scenarios against the reference client with one bug.
// play plays scenarios against the reference client or a mutant, in this process. Those that misses names are to be missed.
func play(t *testing.T, bug mutant.Bug, list []*scenarios.Scenario, misses ...string) *report.Report {
	t.Helper()
	start := func(ctx context.Context, env map[string]string) (*driver.Driver, error) {
		return driver.Start(ctx, driver.InProcess(mutant.Name(bug), mutant.Serve(bug)), driver.Options{Env: env})
	}
	d, err := start(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, d.LiarProbe(t.Context()))
	lane, err := scenarios.NewLane("scaled", 0)
	require.NoError(t, err)
	run := &scenarios.Run{Parallel: 16}
	if bug == mutant.WaitsForEver || bug == mutant.TellsOneCaller { // it is given up before the cache ends its waiting by closing the connection
		run.Patience = 4 * time.Second
	}
	return playSubject(t, run, &scenarios.Subject{Name: mutant.Name(bug), Driver: d, Lane: lane, Fresh: start}, list, misses)
}

// playSubject plays as verify does: on a machine that is too busy for a client's timers a play may end in another way than it should,
// so a verdict that the test does not expect is played again, and what most plays say counts. What is to be missed and is ends as
// [report.XFail].
func playSubject(t *testing.T, run *scenarios.Run, subject *scenarios.Subject, list []*scenarios.Scenario, misses []string) *report.Report {
	t.Helper()
	run.Plays = 3
	for _, id := range misses {
		subject.Known = append(subject.Known, driver.KnownFailure{Pattern: id, Reason: "its bug"})
	}
	w := report.NewWriter(io.Discard, report.Run{Version: "test", Start: time.Now()})
	for _, s := range list {
		w.Scenario(s.Report())
	}
	w.Driver(report.Driver{Name: subject.Name, Info: subject.Driver.Hello().Driver})
	run.Play(t.Context(), list, []*scenarios.Subject{subject}, w)
	require.NoError(t, subject.Driver.Stop())
	r, err := w.End(report.End{Complete: true})
	require.NoError(t, err)
	return r
}

func catalogue(t *testing.T) *scenarios.Catalogue {
	t.Helper()
	c, err := scenarios.Load(features.FS)
	require.NoError(t, err)
	return c
}

// scaledCatalogue is without what the scaled lane does not play.
func scaledCatalogue(t *testing.T) *scenarios.Catalogue {
	t.Helper()
	c := catalogue(t)
	var err error
	c.Scenarios, err = scenarios.ForLanes(c.Scenarios, []string{"scaled"}, false)
	require.NoError(t, err)
	return c
}

// TestReferencePassesEverything holds the scenarios against a client that does all that they ask.
func TestReferencePassesEverything(t *testing.T) {
	t.Parallel()
	r := play(t, mutant.None, scaledCatalogue(t).Scenarios)
	var failures strings.Builder
	require.NoError(t, r.WriteFailures(&failures))
	for _, x := range r.Results {
		assert.Equal(t, report.Pass, x.Status, x.Scenario)
	}
	assert.Empty(t, failures.String())
}

// TestEveryScenarioIsFailedByAMutant proves that each scenario can fail, and that each mutant fails for its own bug only as far as
// it says.
func TestEveryScenarioIsFailedByAMutant(t *testing.T) {
	t.Parallel()
	c := scaledCatalogue(t)
	byID := map[string]*scenarios.Scenario{}
	for _, s := range c.Scenarios {
		byID[s.ID] = s
	}
	mutants := mutant.Mutants()
	reports := make([]*report.Report, len(mutants))
	var wg sync.WaitGroup
	slots := make(chan struct{}, 10)
	for i, m := range mutants {
		var list []*scenarios.Scenario
		for _, id := range append(slices.Clone(m.FailedBy), m.Passes) {
			require.Contains(t, byID, id, "mutant %s names a scenario that is not there", m.Bug)
			list = append(list, byID[id])
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			reports[i] = play(t, m.Bug, list, m.FailedBy...)
		})
	}
	wg.Wait()
	require.False(t, t.Failed(), "a mutant could not be played")

	killedBy := map[string][]string{}
	for i, m := range mutants {
		for _, x := range reports[i].Results {
			switch {
			case x.Scenario == m.Passes:
				assert.Equal(t, report.Pass, x.Status, "%s should pass %s: %s", m.Bug, x.Scenario, x.Actual)
			case assert.Equal(t, report.XFail, x.Status, "%s should fail %s, but it ended otherwise: %s %s", m.Bug, x.Scenario, x.Actual, x.Reason):
				killedBy[x.Scenario] = append(killedBy[x.Scenario], string(m.Bug))
			}
		}
	}
	var table strings.Builder
	for _, s := range c.Scenarios {
		fmt.Fprintf(&table, "%-34s %s\n", s.ID, strings.Join(killedBy[s.ID], ", "))
		assert.NotEmpty(t, killedBy[s.ID], "no mutant fails %s: it tests nothing", s.ID)
	}
	t.Logf("scenario and the mutants that it catches:\n%s", table.String())
}
