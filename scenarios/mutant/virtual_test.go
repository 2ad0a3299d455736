package mutant_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/scenarios"
	"github.com/entracache/entracache/scenarios/driver"
	"github.com/entracache/entracache/scenarios/mutant"
	"github.com/entracache/entracache/scenarios/report"
)

// playVirtual plays scenarios in the virtual lane, against the reference client or a mutant in a process. Those that misses names are to be
// missed.
func playVirtual(t *testing.T, bug mutant.Bug, speed float64, list []*scenarios.Scenario, misses ...string) *report.Report {
	t.Helper()
	if runtime.GOOS != "linux" {
		if os.Getenv("ENTRACACHE_REQUIRE") == "all" {
			t.Fatal("the virtual lane needs Linux")
		}
		t.Skip("the virtual lane needs Linux")
	}
	config, err := driver.Load(clientFolder(t, bug))
	require.NoError(t, err)
	found, err := config.Probe(t.Context())
	require.NoError(t, err)
	prepared, err := config.Prepare(t.Context(), found, driver.PrepareOptions{Root: t.TempDir(), Virtual: true})
	require.NoError(t, err)

	lane, err := scenarios.NewLane("virtual", speed)
	require.NoError(t, err)
	defer func() { assert.NoError(t, lane.Close()) }()
	target, err := config.Target(prepared).Virtual(lane.Virtual(), config.Virtual.By, "")
	require.NoError(t, err)
	start := func(ctx context.Context, env map[string]string) (*driver.Driver, error) {
		return driver.Start(ctx, target, driver.Options{Env: env})
	}
	d, err := start(t.Context(), nil)
	require.NoError(t, err)
	return playSubject(t, &scenarios.Run{}, &scenarios.Subject{Name: d.Name(), Driver: d, Lane: lane, Fresh: start}, list, misses)
}

// clientFolder is a folder with a client.yaml for the reference client, or for a mutant.
func clientFolder(t *testing.T, bug mutant.Bug) string {
	t.Helper()
	program, err := filepath.Abs("program")
	require.NoError(t, err)
	text, err := os.ReadFile("testdata/client.yaml")
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), mutant.Name(bug))
	require.NoError(t, os.Mkdir(dir, 0o755))
	filled := strings.NewReplacer("PROGRAM", program, "NAME", mutant.Name(bug), "BUG", string(bug)).Replace(string(text))
	require.NoError(t, os.WriteFile(filepath.Join(dir, driver.ConfigFile), []byte(filled), 0o600))
	return dir
}

func chosen(t *testing.T, ids ...string) []*scenarios.Scenario {
	t.Helper()
	list, err := catalogue(t).Select(ids, "")
	require.NoError(t, err)
	return list
}

// An hour in twelve seconds: the three minutes that are asked for are more than half a second.
const virtualSpeed = 300

// TestReferencePassesInTheVirtualLane holds every kind of step against a client whose clock is faster: waits, idle pools, reboots,
// outages, subscribers.
func TestReferencePassesInTheVirtualLane(t *testing.T) {
	t.Parallel()
	r := playVirtual(t, mutant.None, virtualSpeed, chosen(t, "refresh.three-minutes-before", "refresh.idle-pool", "refresh.same-connection",
		"reconnect.after-outage", "outage.recovers", "pubsub.resp2-comes-back", "close.during-renewal", "signin.verifies-certificate", "limits.idle"))
	for _, x := range r.Results {
		assert.Equal(t, report.Pass, x.Status, "%s: %s %s %s", x.Scenario, x.Expected, x.Actual, x.Reason)
	}
}

// TestVirtualLaneKeepsMargins: a margin in minutes is what it says.
func TestVirtualLaneKeepsMargins(t *testing.T) {
	t.Parallel()
	r := playVirtual(t, mutant.TwoMinutesBefore, virtualSpeed, chosen(t, "refresh.three-minutes-before", "refresh.token-requests-bounded"), "refresh.three-minutes-before")
	margin, _ := r.Result("mutant-two-minutes-before", "refresh.three-minutes-before")
	assert.Equal(t, report.XFail, margin.Status)
	assert.Regexp(t, `^connection 1 sent AUTH with a newer token at \+5[89]m[0-9.]+s|\+6\dm[0-9.]+s, when the old one had \+?[01]m`, margin.Actual)
	quiet, _ := r.Result("mutant-two-minutes-before", "refresh.token-requests-bounded")
	assert.Equal(t, report.Pass, quiet.Status, "%s %s", quiet.Actual, quiet.Reason)
}

// TestVirtualLaneSeesStaggering: the reference spreads the renewals of a pool over minutes, a mutant sends them all at once.
func TestVirtualLaneSeesStaggering(t *testing.T) {
	t.Parallel()
	for bug, misses := range map[mutant.Bug][]string{mutant.None: nil, mutant.NeverStaggers: {"load.staggered"}} {
		r := playVirtual(t, bug, virtualSpeed, chosen(t, "load.staggered"), misses...)
		x, _ := r.Result(mutant.Name(bug), "load.staggered")
		assert.Equal(t, asListed(misses), x.Status, "%s: %s %s %s", mutant.Name(bug), x.Expected, x.Actual, x.Reason)
	}
}

// asListed is how the only scenario of a test is to end.
func asListed(misses []string) report.Status {
	if len(misses) > 0 {
		return report.XFail
	}
	return report.Pass
}

// TestVirtualLaneKills: each of these scenarios, which only the virtual lane plays, is passed by the reference and failed by a mutant.
func TestVirtualLaneKills(t *testing.T) {
	t.Parallel()
	killers := map[string]mutant.Bug{
		"issuer.now-and-then":             mutant.CountsFailuresForEver,
		"issuer.slow-renewal":             mutant.GivesUpAfterASecond,
		"credentials.same-token":          mutant.LoopsOnSameToken,
		"credentials.token-file-replaced": mutant.ReadsFileOnce,
	}
	r := playVirtual(t, mutant.None, virtualSpeed, chosen(t, slices.Sorted(maps.Keys(killers))...))
	for _, x := range r.Results {
		assert.Equal(t, report.Pass, x.Status, "%s: %s %s %s", x.Scenario, x.Expected, x.Actual, x.Reason)
	}
	for scenario, bug := range killers {
		r := playVirtual(t, bug, virtualSpeed, chosen(t, scenario), scenario)
		x, _ := r.Result(mutant.Name(bug), scenario)
		assert.Equal(t, report.XFail, x.Status, "%s should fail %s: %s %s", bug, scenario, x.Actual, x.Reason)
	}
}
