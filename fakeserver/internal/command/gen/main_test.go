package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGeneratedFileIsUpToDate(t *testing.T) {
	want, err := generate(filepath.Join("..", levelsDir))
	require.NoError(t, err)
	got, err := os.ReadFile(filepath.Join("..", outputFile))
	require.NoError(t, err)
	if string(got) != string(want) {
		t.Fatalf("%s is not what the files in %s say: run go generate ./fakeserver/internal/command", outputFile, levelsDir)
	}
}

// TestMistakesInADataFileAreNamed makes one mistake at a time in a right file.
func TestMistakesInADataFileAreNamed(t *testing.T) {
	const right = `level: "9.9"
categories: [read, write, admin, fast, slow, blocking, dangerous]
commands:
  - {name: get, arity: 2, flags: [readonly, fast], categories: [read, fast], keys: {first: 1, last: 1, step: 1}}
  - {name: sort, arity: -2, flags: [write, denyoom], categories: [write, slow], keys: {first: 1, last: 1, step: 1, movable: sort-store}}
  - {name: xyz, arity: -2, categories: [slow]}
  - {name: xyz|sub, arity: -3, flags: [blocking, allow_busy], categories: [slow, blocking], keys: {movable: streams}, channels: publish, specs: [{flags: [RO, access], keyword: STREAMS, from: 1, range: [-1, 1, 2]}, {flags: [OW, update], index: 1, keynum: [0, 1, 1]}, {flags: [not_key]}], tips: [a, b], group: g, since: "1.0", docs: [deprecated], deprecated: "2.0", protected: true}
`
	source, err := generateFrom(t, "9.9.yaml", right)
	require.NoError(t, err)
	assert.Contains(t, source, `"write", "denyoom", "movablekeys"`)
	assert.Contains(t, source, `{ID: 3, Name: "xyz|sub", Arity: -3, Flags: []string{"blocking", "movablekeys", "allow_busy"}, Categories: []string{"slow", "blocking"}, `+
		`Movable: true, rule: ruleStreams, Channels: ChannelsPublish, Specs: []KeySpec{{Flags: KeyRO | KeyAccess, Keyword: "STREAMS", From: 1, Find: FindRange, Last: -1, Step: 1, Limit: 2}, `+
		`{Flags: KeyOW | KeyUpdate, Index: 1, Find: FindKeynum, Keynum: 0, First: 1, Step: 1}, {Flags: NotKey}}, Tips: []string{"a", "b"}, Group: "g", Since: "1.0", `+
		`DocFlags: []string{"deprecated"}, DeprecatedSince: "2.0", Protected: true}`)

	for _, test := range []struct{ name, old, new, message string }{
		{"other level than the file's name", `"9.9"`, `"9.8"`, `level is "9.8": expected "9.9"`},
		{"unknown key in the file", "arity: 2", "arty: 2", "arty"},
		{"no arity", "arity: 2, ", "", "arity is 0"},
		{"upper case", "name: get", "name: GET", "lower case"},
		{"unknown flag", "[readonly, fast]", "[readonly, quick]", `unknown flag "quick"`},
		{"flag out of order", "[readonly, fast]", "[fast, readonly]", `flag "readonly" is out of order`},
		{"unknown category", "[read, fast]", "[reading, fast]", `unknown category "reading"`},
		{"implied category left out", "[write, slow]", "[slow]", `the category "write" that it implies`},
		{"fast and slow", "[write, slow]", "[write, fast, slow]", "exactly one"},
		{"unknown rule", "sort-store", "sort", `unknown movable rule "sort"`},
		{"key beyond the arity", "{first: 1, last: 1, step: 1}}\n  - {name: sort", "{first: 1, last: 2, step: 1}}\n  - {name: sort", "beyond"},
		{"no step", "{first: 1, last: 1, step: 1}}\n  - {name: sort", "{first: 1, last: 1}}\n  - {name: sort", "step"},
		{"not sorted", "name: sort", "name: a", "sorted by name"},
		{"twice", "name: sort", "name: get", "sorted by name"},
		{"movablekeys is not for data files", "[write, denyoom]", "[write, denyoom, movablekeys]", "follows from keys.movable"},
		{"subcommand without container", "name: xyz|sub", "name: xyzz|sub", `container "xyzz"`},
		{"unknown channels", "channels: publish", "channels: some", `unknown channels "some"`},
		{"unknown key flag", "flags: [RO, access]", "flags: [RO, look]", `unknown flag "look"`},
		{"index and keyword", "keyword: STREAMS, from: 1, ", "keyword: STREAMS, from: 1, index: 1, ", "index or keyword"},
		{"keyword without from", "keyword: STREAMS, from: 1, ", "keyword: STREAMS, ", "go together"},
		{"range and keynum", "keynum: [0, 1, 1]", "keynum: [0, 1, 1], range: [0, 1, 0]", "range or keynum"},
		{"short range", "range: [-1, 1, 2]", "range: [-1, 1]", "range: expected"},
		{"keynum without step", "keynum: [0, 1, 1]", "keynum: [0, 1, 0]", "keynum: expected"},
		{"negative index", "index: 1", "index: -1", "index is negative"},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, 1, strings.Count(right, test.old), "the mistake must be made once")
			_, err := generateFrom(t, "9.9.yaml", strings.Replace(right, test.old, test.new, 1))
			require.Error(t, err)
			assert.Contains(t, err.Error(), test.message)
			assert.Contains(t, err.Error(), "9.9.yaml")
		})
	}
}

func TestEmptyFolderIsAnError(t *testing.T) {
	_, err := generate(t.TempDir())
	require.ErrorContains(t, err, "no *.yaml")
}

func generateFrom(t *testing.T, name, content string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	source, err := generate(dir)
	return string(source), err
}
