package scenarios

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/features"
	"github.com/entracache/entracache/scenarios/protocol"
	"github.com/entracache/entracache/scenarios/report"
)

func TestBuiltInFeaturesLoad(t *testing.T) {
	c, err := Load(features.FS)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, len(c.Scenarios), 20)
	used := map[string]bool{}
	for _, s := range c.Scenarios {
		assert.Positive(t, s.Line, "%s has no line", s.ID)
		used[s.Requirement.ID] = true
		for _, step := range s.Steps {
			assert.Positive(t, step.Line, "%s: step %q has no line", s.ID, step.Text)
		}
	}
	for _, r := range c.Requirements {
		assert.True(t, used[r.ID], "no scenario tests requirement %s", r.ID)
	}
}

// TestVocabularyIsUsed keeps steps that no feature uses from staying: nobody would notice if they were wrong.
func TestVocabularyIsUsed(t *testing.T) {
	c, err := Load(features.FS)
	require.NoError(t, err)
	for _, def := range Vocabulary() {
		found := false
		for _, s := range c.Scenarios {
			for _, step := range s.Steps {
				found = found || def.pattern.MatchString(step.Text)
			}
		}
		assert.True(t, found, "no feature uses the step %q", def.Form)
	}
}

const goodRequirements = "set: test\nrequirements:\n  - {id: ENT-1, level: MUST, sentence: \"It must.\"}\n"

const goodFeature = `@good
Feature: Good
  @id:good.one @must @req:ENT-1 @needs:resp3
  Scenario: One
    Given a cache that accepts Microsoft Entra tokens
    When the client runs "PING"
    Then the command succeeds
`

func featureFS(feature string) fs.FS {
	return fstest.MapFS{"requirements.yaml": {Data: []byte(goodRequirements)}, "good.feature": {Data: []byte(feature)}}
}

func TestLoad(t *testing.T) {
	c, err := Load(featureFS(goodFeature))
	require.NoError(t, err)
	require.Len(t, c.Scenarios, 1)
	s := c.Scenarios[0]
	assert.Equal(t, "good.one", s.ID)
	assert.Equal(t, report.Must, s.Level)
	assert.Equal(t, []protocol.Capability{protocol.CapRESP3}, s.Needs)
	assert.Equal(t, "features/good.feature:4", s.Location())
	assert.Equal(t, Step{Text: `the client runs "PING"`, Line: 6}, s.Steps[1])
}

func TestLoadExpandsOutlines(t *testing.T) {
	c, err := Load(featureFS(`@good
Feature: Good
  @must @req:ENT-1
  Scenario Outline: Policy <policy>
    Given a service principal with the access policy "<policy>"
    Then the command succeeds

    @id:good.owner
    Examples:
      | policy     |
      | Data Owner |

    @id:good.reader
    Examples:
      | policy      |
      | Data Reader |
`))
	require.NoError(t, err)
	require.Len(t, c.Scenarios, 2)
	assert.Equal(t, "good.reader", c.Scenarios[1].ID)
	assert.Equal(t, 16, c.Scenarios[1].Line, "an Examples row has its own line")
	assert.Contains(t, c.Scenarios[1].Steps[0].Text, "Data Reader")
}

func TestLoadFillsTagsOfOutlines(t *testing.T) {
	outline := `@good
Feature: Good
  @id:good.<who> @must @req:ENT-1
  Scenario Outline: Policy <policy>
    Given a service principal with the access policy "<policy>"
    Then the command succeeds

    Examples:
      | who    | policy      |
      | owner  | Data Owner  |
      | WHO    | Data Reader |
`
	c, err := Load(featureFS(strings.Replace(outline, "WHO", "reader", 1)))
	require.NoError(t, err)
	require.Len(t, c.Scenarios, 2)
	assert.Equal(t, "good.owner", c.Scenarios[0].ID)
	assert.Equal(t, "good.reader", c.Scenarios[1].ID)
	assert.Contains(t, c.Scenarios[1].Tags, "@id:good.reader", "as it is selected by")
	assert.Equal(t, 11, c.Scenarios[1].Line)
	_, err = Load(featureFS(strings.Replace(outline, "WHO", "owner", 1)))
	require.ErrorContains(t, err, "the id good.owner is taken by features/good.feature:10")
	_, err = Load(featureFS(strings.Replace(outline, "<who>", "<whom>", 1)))
	require.ErrorContains(t, err, "has the id")
}

func TestLoadRefuses(t *testing.T) {
	for name, change := range map[string]struct{ from, to, want string }{
		"no id":                {"@id:good.one ", "", "expected a tag such as @id:"},
		"a bad id":             {"good.one", "Good_One", "has the id"},
		"no level":             {"@must ", "", "has no level"},
		"an unknown tag":       {"@must", "@must @slow", "unknown tag @slow"},
		"an unknown req":       {"ENT-1", "ENT-9", `requirement "ENT-9" is not in requirements.yaml`},
		"no req":               {"@req:ENT-1 ", "", "names no requirement"},
		"an unknown need":      {"resp3", "resp4", `unknown capability "resp4"`},
		"an undefined step":    {"the command succeeds", "the command is nice", `matches 0 steps of the vocabulary`},
		"no process":           {"@needs:resp3", "@needs:credential:managed-identity", "but not @process"},
		"no Then":              {"Then the command succeeds", "", "has no Then step"},
		"text that is no step": {"Then the", "Thus the", "not readable as Gherkin"},
		"a table":              {"Then the command succeeds", "Then the command succeeds\n      | a |", "no step takes one"},
		"no scenario":          {goodFeature[strings.Index(goodFeature, "  @id"):], "", "holds no scenario"},
		"the same id twice":    {goodFeature, goodFeature + goodFeature[strings.Index(goodFeature, "  @id"):], "the id good.one is taken by features/good.feature:4"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(goodFeature, change.from, change.to, 1)
			require.NotEqual(t, goodFeature, text)
			_, err := Load(featureFS(text))
			require.Error(t, err)
			assert.Contains(t, err.Error(), change.want)
			assert.Contains(t, err.Error(), "good.feature", "the error names the file")
		})
	}
}

func TestLoadRefusesBadRequirements(t *testing.T) {
	for name, text := range map[string]string{
		"an unknown key": goodRequirements + "nonsense: 1\n",
		"a bad level":    strings.Replace(goodRequirements, "MUST", "PERHAPS", 1),
		"no YAML":        "{",
	} {
		_, err := Load(fstest.MapFS{"requirements.yaml": {Data: []byte(text)}, "good.feature": {Data: []byte(goodFeature)}})
		assert.ErrorContains(t, err, "requirements.yaml", name)
	}
	_, err := Load(fstest.MapFS{"requirements.yaml": {Data: []byte(goodRequirements)}})
	assert.ErrorContains(t, err, "no *.feature file")
}

func TestSelect(t *testing.T) {
	c, err := Load(features.FS)
	require.NoError(t, err)
	ids := func(globs []string, tags string) string {
		list, err := c.Select(globs, tags)
		require.NoError(t, err)
		var ids []string
		for _, s := range list {
			ids = append(ids, s.ID)
		}
		return strings.Join(ids, " ")
	}
	assert.Equal(t, len(c.Scenarios), len(strings.Fields(ids(nil, ""))))
	assert.Equal(t, "pubsub.resp3-survives pubsub.resp2-comes-back pubsub.delivers pubsub.two-subscribers", ids([]string{"pubsub.*"}, ""))
	assert.Equal(t, "pubsub.resp2-comes-back", ids([]string{"pubsub.*"}, "@needs:resp2"))
	assert.Equal(t, "pubsub.delivers", ids(nil, "@pubsub and not (@needs:resp2 or @needs:resp3)"))
	assert.Equal(t, ids(nil, "@must"), ids(nil, "not (@should or @info)"))
	assert.Equal(t, ids(nil, "@pubsub"), ids(nil, "@should and @pubsub or @pubsub"), "and binds tighter than or")

	for _, bad := range []struct {
		globs      []string
		tags, want string
	}{
		{[]string{"nothing.*"}, "", `no scenario matches "nothing.*"`},
		{[]string{"pubsub.*", "typo"}, "", `no scenario matches "typo"`},
		{[]string{"[", ""}, "", "scenario pattern"},
		{nil, "@nonsense", "no scenario has the tag @nonsense"},
		{nil, "@must and", "ends too early"},
		{nil, "(@must", "missing )"},
		{nil, "@must @should", `unexpected "@should"`},
		{nil, "must", "expected a tag such as @must"},
		{[]string{"pubsub.delivers"}, "@needs:resp2", "no scenario is selected"},
	} {
		_, err := c.Select(bad.globs, bad.tags)
		assert.ErrorContains(t, err, bad.want)
	}
}

func TestLane(t *testing.T) {
	scaled, err := NewLane("scaled", 0)
	require.NoError(t, err)
	assert.Equal(t, "10s", scaled.Wall(60*time.Minute).String())
	assert.Equal(t, 60*time.Minute, scaled.Life(scaled.Wall(60*time.Minute)))
	truth, err := NewLane("real", 0)
	require.NoError(t, err)
	assert.Equal(t, 3*time.Minute, truth.Wall(3*time.Minute))
	assert.Equal(t, scaled, scaled.For(nil))
	assert.Equal(t, scaled, scaled.For(&protocol.Limits{MinTokenLifetimeMS: 5000}))
	assert.Equal(t, 20.0, scaled.For(&protocol.Limits{MinTokenLifetimeMS: 180_000}).Speed, "an hour in three minutes")
	assert.Equal(t, 1.0, scaled.For(&protocol.Limits{MinTokenLifetimeMS: 7_200_000}).Speed)

	assert.Equal(t, minGrace, scaled.grace(10, nil), "no less than reconnect back-offs")
	assert.Equal(t, 30*time.Second, Lane{Speed: 20}.grace(10, nil))
	assert.Equal(t, 75*time.Second, scaled.grace(10, &protocol.Limits{RecoveryMS: 75_000}))
	assert.Equal(t, time.Minute, scaled.grace(1, &protocol.Limits{RecoveryMS: 75_000}), "no more than the minutes that the step gives")

	virtual, err := NewLane("virtual", 0)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, virtual.Close()) })
	assert.Equal(t, 72*time.Second, virtual.Wall(time.Hour))
	assert.Equal(t, time.Hour, virtual.World(time.Hour), "the world's clock shows what the feature says")
	assert.Equal(t, time.Hour, virtual.Life(time.Hour))
	assert.Equal(t, 250*time.Second, virtual.Patience(5*time.Second), "what bounds real work is real")
	assert.Equal(t, virtual, virtual.For(&protocol.Limits{MinTokenLifetimeMS: 7_200_000}))
	assert.Equal(t, scaled.Wall(time.Hour), scaled.World(time.Hour))
	assert.Equal(t, time.Second, scaled.Patience(time.Second))
	assert.Zero(t, scaled.clockRate())
	assert.Equal(t, 50, virtual.clockRate())
	assert.Equal(t, 12*time.Second, virtual.grace(10, &protocol.Limits{RecoveryMS: 75_000}), "the library's timers are faster, too")
	assert.Equal(t, minGrace, virtual.grace(1, nil))

	assert.Equal(t, DefaultVirtualParallel, (&Run{}).parallel(virtual))
	assert.Equal(t, DefaultParallel, (&Run{}).parallel(scaled))
	assert.Equal(t, 3, (&Run{Parallel: 3}).parallel(virtual), "who says how many is obeyed")

	for _, bad := range []struct {
		name  string
		speed float64
		want  string
	}{{"fast", 0, `unknown lane "fast"`}, {"real", 60, "leave --speed out"}, {"scaled", 0.5, "out of range"}, {"scaled", 1e6, "out of range"},
		{"virtual", 1.5, "whole number"}, {"virtual", 1e6, "out of range"}} {
		_, err := NewLane(bad.name, bad.speed)
		assert.ErrorContains(t, err, bad.want)
	}
}
