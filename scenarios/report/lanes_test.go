package report

import (
	"cmp"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/scenarios/protocol"
)

// laneReport is a run of one driver.
func laneReport(t *testing.T, lane, hash, version string, statuses map[string]Status) *Report {
	t.Helper()
	w := NewWriter(io.Discard, Run{Version: "1", FeatureHash: hash, Start: start, Lane: lane})
	w.Driver(Driver{Name: "jedis", Lane: lane, Speed: 60, Info: &protocol.DriverInfo{Libraries: []protocol.Library{{Name: "jedis", Version: version}}}})
	for _, id := range []string{"a.one", "a.two", "a.three", "a.four"} {
		w.Scenario(Scenario{ID: id, Level: Must})
		w.Result(Result{Driver: "jedis", Scenario: id, Status: cmp.Or(statuses[id], Skip), Actual: "seen in " + lane, Reason: "no need"})
	}
	r, err := w.End(End{Complete: true})
	require.NoError(t, err)
	return r
}

func TestDisagreements(t *testing.T) {
	scaled := laneReport(t, "scaled", "f1", "8", map[string]Status{"a.one": Pass, "a.two": XFail, "a.three": Pass, "a.four": Pass})
	virtual := laneReport(t, "virtual", "f1", "8", map[string]Status{"a.one": Fail, "a.two": Fail, "a.three": Skip, "a.four": FlakyPass})
	var out strings.Builder
	n, err := WriteDisagreements(&out, scaled, virtual)
	require.NoError(t, err)
	assert.Equal(t, 1, n, "a missed verdict is the same whether it was known or not")
	assert.Regexp(t, `(?s)^jedis  a\.one.*scaled ×60   +pass seen in scaled.*virtual ×60  fail seen in virtual\n3 verdicts of the lanes scaled and virtual compared: 1 differ; 1 more`, out.String())
	assert.NotContains(t, out.String(), "a.two")

	_, err = WriteDisagreements(io.Discard, scaled, laneReport(t, "virtual", "f2", "8", nil))
	assert.ErrorContains(t, err, "different scenarios")
	_, err = WriteDisagreements(io.Discard, scaled, laneReport(t, "virtual", "f1", "9", nil))
	assert.ErrorContains(t, err, "different releases of jedis: 8 and 9")
	_, err = WriteDisagreements(io.Discard, scaled, laneReport(t, "virtual", "f1", "8", nil))
	assert.ErrorContains(t, err, "no scenario was judged in both")
}
