package driver

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/scenarios/protocol"
)

const goodConfig = `name: go-redis
library: github.com/redis/go-redis/v9
language: Go
documentation: https://redis.io/docs/
runtime: { command: [go, version], minimum: "1.24" }
inputs: [main.go, "lib/**"]
prepare: [[go, build, -o, "{cache}/driver", .]]
command: ["{cache}/driver"]
capabilities:
  - credential:client-secret
  - resp3
`

// clientDir makes a client folder called go-redis.
func clientDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "go-redis")
	for name, content := range files {
		file := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
	}
	return dir
}

func TestLoad(t *testing.T) {
	dir := clientDir(t, map[string]string{
		ConfigFile: goodConfig, "main.go": "package main", "lib/a/b.go": "package a",
		KnownFailuresFile: "# why\nrefresh.*  # seen; https://example.org/1\n",
	})
	config, err := Load(dir)
	require.NoError(t, err)
	assert.Equal(t, RuntimeConfig{Command: []string{"go", "version"}, Minimum: "1.24"}, config.Runtime)
	assert.Equal(t, [][]string{{"go", "build", "-o", "{cache}/driver", "."}}, config.Steps)
	assert.Equal(t, []protocol.Capability{protocol.CapClientSecret, protocol.CapRESP3}, config.Capabilities)
	assert.Equal(t, dir, config.Dir)
	files, err := config.inputFiles()
	require.NoError(t, err)
	assert.Equal(t, []string{"lib/a/b.go", "main.go"}, files)
	require.Len(t, config.KnownFailures, 1)
	assert.Equal(t, 2, config.KnownFailures[0].Line)
}

func TestInputsOfAFolderBesideTheClient(t *testing.T) {
	dir := clientDir(t, map[string]string{
		ConfigFile: strings.Replace(goodConfig, "main.go,", `main.go, "../shared/**",`, 1), "main.go": "", "lib/x": "", "../shared/a/b.go": "1",
	})
	config, err := Load(dir)
	require.NoError(t, err)
	files, err := config.inputFiles()
	require.NoError(t, err)
	assert.Equal(t, []string{"../shared/a/b.go", "lib/x", "main.go"}, files)

	before, err := config.key(Runtime{}, "")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "..", "shared", "a", "b.go"), []byte("2"), 0o644))
	after, err := config.key(Runtime{}, "")
	require.NoError(t, err)
	assert.NotEqual(t, before, after, "what it shares is part of what it is made from")

	require.NoError(t, os.RemoveAll(filepath.Join(dir, "..", "shared")))
	_, err = Load(dir)
	assert.ErrorContains(t, err, `inputs: "../shared/**" matches no file`)
}

func TestABadConfigIsNamedByFileLineAndKey(t *testing.T) {
	swap := func(old, new string) string { return strings.Replace(goodConfig, old, new, 1) }
	for name, test := range map[string]struct{ yaml, says string }{
		"not YAML":            {"name: [a\n", ":1: "},
		"unknown key":         {swap("inputs:", "input:"), `:6: unknown field "input"`},
		"unknown runtime key": {swap("minimum", "minimun"), `:5: unknown field "minimun"`},
		"key twice":           {goodConfig + "name: x\n", `:12: `},
		"wrong type":          {swap("[main.go, \"lib/**\"]", "{a: b}"), ":6: "},
		"no name":             {swap("name: go-redis", `name: ""`), ":1: name: is missing"},
		"bad name":            {swap("name: go-redis", `name: Go Redis`), ":1: name: expected small letters"},
		"no library":          {swap("library: github.com/redis/go-redis/v9\n", ""), ":1: library: is missing"},
		"bad documentation":   {swap("https://redis", "redis"), ":4: documentation: expected the https://"},
		"no runtime command":  {swap("[go, version]", "[]"), ":5: runtime.command: is missing"},
		"bad minimum":         {swap(`"1.24"`, "v1.24"), `:5: runtime.minimum: expected a version such as "1.24", got "v1.24"`},
		"unquoted minimum":    {swap(`"1.24"`, "1.20"), ":5: runtime.minimum: write the version in quotes"},
		"no command":          {swap(`["{cache}/driver"]`, `[]`), ":8: command: is missing"},
		"empty step":          {swap(`[[go, build, -o, "{cache}/driver", .]]`, `[[go, build], []]`), ":7: prepare[1]: is empty"},
		"unknown placeholder": {swap(`["{cache}/driver"]`, `["{home}/driver"]`), ":8: command: unknown placeholder {home}"},
		"no capabilities":     {swap("capabilities:\n  - credential:client-secret\n  - resp3\n", ""), "capabilities: is missing"},
		"unknown capability":  {swap("- resp3", "- resp4"), `:11: capabilities[1]: unknown capability "resp4"; known are credential:client-secret`},
		"capability twice":    {swap("- resp3", "- credential:client-secret"), ":11: capabilities[1]: "},
		"unknown speed-up":    {swap("capabilities:", "virtual: { by: magic }\ncapabilities:"), `:9: virtual.by: expected libfaketime or overlay, got "magic"`},
		"speed-up and reason": {swap("capabilities:", "virtual: { by: overlay, reason: none }\ncapabilities:"), ":9: virtual.reason: is why there is no way"},
		"version elsewhere":   {swap(`["{cache}/driver"]`, `["{version}/driver"]`), ":8: command: unknown placeholder {version}"},
		"empty version step":  {swap("capabilities:", "other_version: [[]]\ncapabilities:"), ":9: other_version[0]: is empty"},
		"unknown lane":        {swap("capabilities:", "lane: fast\ncapabilities:"), `:9: lane: expected scaled or virtual, the lane that suits the library, got "fast"`},
		"lane without speed":  {swap("capabilities:", "lane: virtual\ncapabilities:"), ":9: lane: is virtual, but virtual.by does not say"},
		"input outside":       {swap("main.go", "../main.go"), ":6: inputs[0]: expected a path inside"},
		"input far outside":   {swap("main.go", "../../x/main.go"), ":6: inputs[0]: expected a path inside"},
		"input back outside":  {swap("main.go", "lib/../../x/main.go"), ":6: inputs[0]: expected a path inside"},
		"bad input pattern":   {swap("main.go", `"[a"`), ":6: inputs[0]: "},
	} {
		t.Run(name, func(t *testing.T) {
			dir := clientDir(t, map[string]string{ConfigFile: test.yaml, "main.go": "", "lib/x": ""})
			_, err := Load(dir)
			require.ErrorContains(t, err, filepath.Join(dir, ConfigFile))
			assert.Contains(t, err.Error(), test.says)
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestLoadNamesWhatIsMissing(t *testing.T) {
	_, err := Load(t.TempDir())
	assert.ErrorContains(t, err, "there is no such file; a client is a folder with a client.yaml")
	_, err = Load(clientDir(t, map[string]string{ConfigFile: goodConfig, "main.go": ""}))
	assert.ErrorContains(t, err, `inputs: "lib/**" matches no file`)
	_, err = Load(clientDir(t, map[string]string{ConfigFile: strings.Replace(goodConfig, "go-redis\n", "goredis\n", 1), "main.go": "", "lib/x": ""}))
	assert.ErrorContains(t, err, `name: expected "go-redis", the name of the folder, got "goredis"`)
}

func TestKnownFailures(t *testing.T) {
	known, err := ParseKnownFailures("k.txt", strings.NewReader("\n# comment\npubsub.**  # RESP2: closed at expiry; https://example.org/a#b\n  keys.{one,two}#why\n"))
	require.NoError(t, err)
	require.Len(t, known, 2)
	assert.Equal(t, KnownFailure{Pattern: "pubsub.**", Reason: "RESP2: closed at expiry; https://example.org/a#b", File: "k.txt", Line: 3}, known[0])
	assert.Equal(t, "why", known.Match("keys.two").Reason)
	assert.Nil(t, known.Match("keys.three"))
	assert.Empty(t, known.Problems([]string{"pubsub.x", "keys.one"}))

	many := make([]string, tooBroad+1)
	for i := range many {
		many[i] = "pubsub." + strings.Repeat("x", i+1)
	}
	assert.Equal(t, []string{
		`k.txt:3: "pubsub.**" names 21 scenarios, at most 20 may share a line; name the behaviour more closely`,
		`k.txt:4: "keys.{one,two}" names no scenario; correct or remove the line`,
	}, known.Problems(many))

	for text, says := range map[string]string{
		"ok  # why\nnone":        `k.txt:2: "none" has no reason; write: none  # what was seen on the wire; link`,
		"none #  ":               "k.txt:1: \"none\" has no reason",
		"two words # why":        "k.txt:1: expected one pattern",
		"[a # why":               `k.txt:1: "[a" is not a valid pattern`,
		"a # why\n\na # because": `k.txt:3: "a" stands already on line 1`,
	} {
		_, err := ParseKnownFailures("k.txt", strings.NewReader(text))
		assert.ErrorContains(t, err, says)
	}
}
