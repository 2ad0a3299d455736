package main

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/features"
	"github.com/entracache/entracache/scenarios"
	"github.com/entracache/entracache/scenarios/driver"
)

// TestLaneThatSuits: a client is played in the lane of its client.yaml unless one is asked for, and in the scaled lane where that cannot
// be had.
func TestLaneThatSuits(t *testing.T) {
	catalogue, err := scenarios.Load(features.FS)
	require.NoError(t, err)
	timers := &driver.Config{Name: "timers", Lane: "virtual", Virtual: driver.VirtualConfig{By: driver.ByOverlay}}
	preloaded := &driver.Config{Name: "preloaded", Lane: "virtual", Virtual: driver.VirtualConfig{By: driver.ByLibfaketime}}
	plain := &driver.Config{Name: "plain"}
	endurance, err := catalogue.Select([]string{"endurance.*"}, "")
	require.NoError(t, err)
	for name, c := range map[string]struct {
		asked    string
		speed    float64
		faketime string
		selected []*scenarios.Scenario
		config   *driver.Config
		want     string
		instead  string
		err      string
	}{
		"the one that suits":          {asked: "auto", config: timers, want: "virtual"},
		"none is named":               {asked: "auto", config: plain, want: "scaled"},
		"a command":                   {asked: "auto", want: "scaled"},
		"another is asked for":        {asked: "scaled", config: timers, want: "scaled"},
		"a speed":                     {asked: "auto", speed: 60, config: timers, want: "scaled"},
		"virtual scenarios only":      {asked: "auto", selected: endurance, config: timers, want: "virtual"},
		"it cannot be had":            {asked: "auto", faketime: "/no/such/library", config: preloaded, want: "scaled", instead: "/no/such/library"},
		"it cannot, but is asked for": {asked: "virtual", faketime: "/no/such/library", config: preloaded, err: "/no/such/library"},
		"never":                       {asked: "virtual", config: plain, err: "not in the virtual lane: its client.yaml does not say how"},
	} {
		t.Run(name, func(t *testing.T) {
			if runtime.GOOS != "linux" && (c.want == "virtual" || c.asked == "virtual") {
				t.Skip("the virtual lane needs Linux")
			}
			selected := c.selected
			if selected == nil {
				selected = catalogue.Scenarios
			}
			l, err := newLanes(c.asked, c.speed, c.faketime, selected)
			require.NoError(t, err)
			defer func() { assert.NoError(t, l.close()) }()
			got, instead, err := l.tempoFor(t.Context(), c.config)
			if c.err != "" {
				assert.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.want, got.lane.Name)
			assert.Contains(t, instead, c.instead)
			assert.Equal(t, c.instead == "", instead == "", instead)
		})
	}
}
