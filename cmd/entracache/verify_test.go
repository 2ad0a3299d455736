package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestNotInTheVirtualLane: a client that cannot be sped up is not judged in the virtual lane by the speed of another.
func TestNotInTheVirtualLane(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the virtual lane needs Linux")
	}
	clients := t.TempDir()
	for name, virtual := range map[string]string{"cannot": "virtual: { reason: it is older than time }\n", "silent": ""} {
		dir := filepath.Join(clients, name)
		require.NoError(t, os.Mkdir(dir, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "client.yaml"), []byte("name: "+name+`
library: x
language: x
documentation: https://example.org
runtime: { command: [sh, -c, echo 1] }
command: ["false"]
capabilities: [resp2]
`+virtual), 0o600))
	}
	verify := func(args ...string) (int, string) {
		var out, err bytes.Buffer
		code := run(t.Context(), append([]string{"verify", "--clients", clients, "--out", t.TempDir()}, args...), streams{&out, &err})
		return code, out.String() + err.String()
	}
	code, said := verify("--lane", "virtual", "cannot", "silent", "exec:false")
	assert.Equal(t, exitBroken, code, "nothing was played")
	assert.Contains(t, said, "cannot is not run: not in the virtual lane: it is older than time")
	assert.Contains(t, said, "silent is not run: not in the virtual lane: its client.yaml does not say how")
	assert.Contains(t, said, "false is not run: not in the virtual lane: a command of your own")

	code, said = verify("--lane", "scaled", "--scenario", "endurance.*", "cannot")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, said, "endurance.three-days is played in the virtual lane only: add --lane virtual")
}

// TestAnotherVersion: it has a column beside that of the locked one, and what cannot be prepared says why.
func TestAnotherVersion(t *testing.T) {
	clients := t.TempDir()
	dir := filepath.Join(clients, "lib")
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "client.yaml"), []byte(`name: lib
library: x
language: x
documentation: https://example.org
runtime: { command: [sh, -c, echo 1] }
other_version: [[sh, -c, "echo no release {version}; false"]]
command: ["false"]
capabilities: [resp2]
`), 0o600))
	verify := func(args ...string) (int, string) {
		var out, err bytes.Buffer
		code := run(t.Context(), append([]string{"verify", "--clients", clients, "--cache", t.TempDir(), "--out", t.TempDir()}, args...), streams{&out, &err})
		return code, out.String() + err.String()
	}
	code, said := verify("--library", "lib=9.9")
	assert.Equal(t, exitBroken, code)
	assert.Regexp(t, `(?m)^ +lib +lib@9\.9$`, said)
	assert.Contains(t, said, "client lib@9.9 could not be prepared")
	assert.Contains(t, said, "no release 9.9")

	for _, bad := range [][]string{{"--library", "lib"}, {"--library", "other=1", "lib"}, {"--library", "=1", "lib"}} {
		code, said = verify(bad...)
		assert.Equal(t, exitUsage, code)
		assert.Contains(t, said, "expected CLIENT=VERSION with one of the clients that are played, such as redis-py=7.1.0")
	}
}
