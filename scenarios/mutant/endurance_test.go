package mutant_test

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/features"
	"github.com/entracache/entracache/scenarios"
	"github.com/entracache/entracache/scenarios/driver"
	"github.com/entracache/entracache/scenarios/mutant"
)

// oneDay is the endurance feature with one day in place of three, in which the issuer is down, fails two requests, and nodes reboot.
func oneDay(t *testing.T) []*scenarios.Scenario {
	t.Helper()
	return shorter(t, "endurance.feature", "endurance.three-days", "3 days of trouble, drawn from the seed 14", "1 days of trouble, drawn from the seed 5", "at least 60 different", "at least 20 different")
}

// shorter is one scenario of a feature, with some of its words replaced.
func shorter(t *testing.T, file, id string, replaced ...string) []*scenarios.Scenario {
	t.Helper()
	text, err := fs.ReadFile(features.FS, file)
	require.NoError(t, err)
	requirements, err := fs.ReadFile(features.FS, "requirements.yaml")
	require.NoError(t, err)
	short := strings.NewReplacer(replaced...).Replace(string(text))
	require.NotEqual(t, string(text), short)
	c, err := scenarios.Load(fstest.MapFS{file: {Data: []byte(short)}, "requirements.yaml": {Data: requirements}})
	require.NoError(t, err)
	list, err := c.Select([]string{id}, "")
	require.NoError(t, err)
	require.Len(t, list, 1)
	return list
}

// TestEndurance: the reference lives through the day; one that gives up after a failed token request, or never reconnects, does not.
func TestEndurance(t *testing.T) {
	missed := []string{"endurance.three-days"}
	for bug, misses := range map[mutant.Bug][]string{mutant.None: nil, mutant.GivesUpAfterOneFailure: missed, mutant.NeverReconnects: missed} {
		t.Run(mutant.Name(bug), func(t *testing.T) {
			t.Parallel()
			r := playVirtual(t, bug, driver.MaxVirtualSpeed, oneDay(t), misses...)
			require.Len(t, r.Results, 1)
			x := r.Results[0]
			assert.Equal(t, asListed(misses), x.Status, "%s %s %s", x.Expected, x.Actual, x.Reason)
			t.Logf("%s: %s", x.Status, x.Actual)
		})
	}
}

// TestManyRenewals: the reference has as many connections after ten renewals as before; one that opens another at each has not.
func TestManyRenewals(t *testing.T) {
	for bug, misses := range map[mutant.Bug][]string{mutant.None: nil, mutant.LeaksAtRenewal: {"load.fifty-renewals"}} {
		t.Run(mutant.Name(bug), func(t *testing.T) {
			t.Parallel()
			r := playVirtual(t, bug, driver.MaxVirtualSpeed, shorter(t, "load.feature", "load.fifty-renewals", "for 3000 minutes", "for 600 minutes", "at least 50 different", "at least 10 different"), misses...)
			require.Len(t, r.Results, 1)
			x := r.Results[0]
			assert.Equal(t, asListed(misses), x.Status, "%s %s %s", x.Expected, x.Actual, x.Reason)
			t.Logf("%s: %s", x.Status, x.Actual)
		})
	}
}
