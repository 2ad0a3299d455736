package driver

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/scenarios/protocol"
)

// shellClient is a client whose steps are shell commands; it counts in a file how often it was prepared.
func shellClient(t *testing.T, script string) *Config {
	t.Helper()
	dir := clientDir(t, map[string]string{ConfigFile: "x", "main.sh": "exit 0"})
	return &Config{
		Name: "go-redis", Language: "Shell", Dir: dir, Inputs: []string{"main.sh"},
		Runtime: RuntimeConfig{Command: []string{"sh", "-c", "echo version 1.2.3"}},
		Steps:   [][]string{{"sh", "-c", "echo run >> ../count; touch {cache}/made"}, {"sh", "-c", script}},
	}
}

func runs(t *testing.T, c *Config) int {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(c.Dir, "..", "count"))
	require.NoError(t, err)
	return strings.Count(string(raw), "run")
}

func TestPrepareOnceForTheSameContent(t *testing.T) {
	c, root := shellClient(t, "echo hello"), t.TempDir()
	ctx := bound(t, 20*time.Second)
	found, err := c.Probe(ctx)
	require.NoError(t, err)
	assert.Equal(t, "1.2.3", found.Version)

	var progress []string
	first, err := c.Prepare(ctx, found, PrepareOptions{Root: root, Progress: func(line string) { progress = append(progress, line) }})
	require.NoError(t, err)
	assert.False(t, first.Reused)
	assert.FileExists(t, filepath.Join(first.Dir, "made"))
	assert.Equal(t, root, filepath.Dir(first.Dir))
	require.Len(t, progress, 2)
	assert.Equal(t, "go-redis: preparing 2/2: sh -c echo hello", progress[1])

	again, err := c.Prepare(ctx, found, PrepareOptions{Root: root})
	require.NoError(t, err)
	assert.Equal(t, Prepared{Dir: first.Dir, Reused: true}, again)
	assert.Equal(t, 1, runs(t, c))

	newer, err := c.Prepare(ctx, Runtime{Output: "version 1.2.4"}, PrepareOptions{Root: root})
	require.NoError(t, err)
	assert.NotEqual(t, first.Dir, newer.Dir, "another runtime")
	for _, file := range []string{"main.sh", ConfigFile} {
		require.NoError(t, os.WriteFile(filepath.Join(c.Dir, file), []byte("changed"), 0o644))
		changed, err := c.Prepare(ctx, found, PrepareOptions{Root: root})
		require.NoError(t, err)
		assert.NotEqual(t, first.Dir, changed.Dir, file)
		assert.False(t, changed.Reused)
	}
}

func TestPrepareAnotherVersion(t *testing.T) {
	c, root := shellClient(t, "true"), t.TempDir()
	_, err := c.AtVersion("7.1.0")
	assert.ErrorContains(t, err, "other_version is missing: it is to say how")
	c.OtherVersion = [][]string{{"sh", "-c", "echo {version} > {cache}/version"}}
	for _, bad := range []string{"", "latest", "1.0; rm -rf x", "$(x)"} {
		_, err := c.AtVersion(bad)
		assert.ErrorContains(t, err, "expected the name of a release, such as 7.1.0")
	}
	ctx := bound(t, 20*time.Second)
	locked, err := c.Prepare(ctx, Runtime{}, PrepareOptions{Root: root})
	require.NoError(t, err)
	for _, version := range []string{"7.1.0", "7.2.0"} {
		other, err := c.AtVersion("v" + version)
		require.NoError(t, err)
		assert.Equal(t, "go-redis@"+version, other.Column())
		prepared, err := other.Prepare(ctx, Runtime{}, PrepareOptions{Root: root})
		require.NoError(t, err)
		assert.NotEqual(t, locked.Dir, prepared.Dir)
		made, err := os.ReadFile(filepath.Join(prepared.Dir, "version"))
		require.NoError(t, err)
		assert.Equal(t, version+"\n", string(made))
	}
	other, err := c.AtVersion("7.1.0")
	require.NoError(t, err)
	hello := protocol.Reply{Driver: &protocol.DriverInfo{Name: "go-redis", Libraries: []protocol.Library{{Version: "v7.2.0"}}}}
	assert.Contains(t, other.disagreements(hello), " is there in version v7.2.0, though 7.1.0 was asked for")
	hello.Driver.Libraries[0].Version = "v7.1.0"
	assert.Empty(t, other.disagreements(hello))
}

func TestTwoAtOnceDoItOnce(t *testing.T) {
	c, root := shellClient(t, "sleep 0.3"), t.TempDir()
	var group sync.WaitGroup
	var mu sync.Mutex
	var waited, reused int
	for range 4 {
		group.Go(func() {
			prepared, err := c.Prepare(bound(t, 20*time.Second), Runtime{}, PrepareOptions{Root: root, Progress: func(line string) {
				mu.Lock()
				defer mu.Unlock()
				if strings.Contains(line, "waiting for another process") {
					waited++
				}
			}})
			mu.Lock()
			defer mu.Unlock()
			assert.NoError(t, err)
			if prepared.Reused {
				reused++
			}
		})
	}
	group.Wait()
	assert.Equal(t, 1, runs(t, c))
	assert.Equal(t, 3, reused)
	assert.Positive(t, waited)
}

func TestAFailedStepIsShownAndDoneAgain(t *testing.T) {
	c, root := shellClient(t, "echo one; echo two >&2; exit 5"), t.TempDir()
	_, err := c.Prepare(bound(t, 20*time.Second), Runtime{}, PrepareOptions{Root: root})
	var failed *PrepareError
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, "one\ntwo", failed.Output)
	assert.ErrorContains(t, err, `client go-redis could not be prepared: "sh -c echo one; echo two >&2; exit 5" failed (exit status 5); all it printed is in `)
	log, readErr := os.ReadFile(failed.Log)
	require.NoError(t, readErr)
	assert.Contains(t, string(log), "$ sh -c echo one")

	_, err = c.Prepare(bound(t, 20*time.Second), Runtime{}, PrepareOptions{Root: root})
	require.Error(t, err)
	assert.Equal(t, 2, runs(t, c), "a failed attempt is not taken for a prepared folder")

	c.Steps = [][]string{{"no-such-program"}}
	_, err = c.Prepare(bound(t, 20*time.Second), Runtime{}, PrepareOptions{Root: root})
	assert.ErrorContains(t, err, "no-such-program")
}

func TestPreparingCanBeCalledOff(t *testing.T) {
	c := shellClient(t, "echo started; sleep 60 & sleep 60")
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	called := errors.New("called off")
	start := time.Now()
	_, err := c.Prepare(ctx, Runtime{}, PrepareOptions{Root: t.TempDir(), Progress: func(line string) {
		if strings.Contains(line, "2/2") {
			time.AfterFunc(50*time.Millisecond, func() { cancel(called) })
		}
	}})
	require.ErrorIs(t, err, called)
	assert.Less(t, time.Since(start), 20*time.Second)
}

func TestProbeSaysWhatIsNeeded(t *testing.T) {
	for name, test := range map[string]struct {
		runtime RuntimeConfig
		says    []string
	}{
		"missing":    {RuntimeConfig{Command: []string{"/no/such/dotnet", "--version"}, Minimum: "8"}, []string{"client c is not run: needs Lang 8 or newer (/no/such/dotnet --version)", "was not found", "https://dotnet.microsoft.com/download"}},
		"too old":    {RuntimeConfig{Command: []string{"sh", "-c", "echo v1.9.2"}, Minimum: "1.10"}, []string{"needs Lang 1.10 or newer", "found 1.9.2"}},
		"broken":     {RuntimeConfig{Command: []string{"sh", "-c", "echo no python >&2; exit 127"}}, []string{"needs Lang (sh -c", "exit status 127", "no python"}},
		"no version": {RuntimeConfig{Command: []string{"sh", "-c", "echo hello"}}, []string{"no version but \"hello\""}},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Config{Name: "c", Language: "Lang", Runtime: test.runtime, Dir: t.TempDir()}
			_, err := c.Probe(bound(t, 20*time.Second))
			var absent *AbsentError
			require.ErrorAs(t, err, &absent)
			for _, part := range test.says {
				assert.Contains(t, err.Error(), part)
			}
		})
	}
	c := &Config{Name: "c", Language: "Go", Runtime: RuntimeConfig{Command: []string{"go", "version"}, Minimum: "1.24"}, Dir: t.TempDir()}
	c.Steps = [][]string{{"go", "build"}, {"no-such-mvn", "package"}, {"{cache}/bin/pip"}}
	_, err := c.Probe(bound(t, 20*time.Second))
	var absent *AbsentError
	require.ErrorAs(t, err, &absent)
	assert.Equal(t, `client c is not run: needs no-such-mvn to be prepared (no-such-mvn package): "no-such-mvn" was not found; install it and put it in PATH`, err.Error())

	c.Steps = [][]string{{"go", "build"}, {"{cache}/bin/pip"}}
	found, err := c.Probe(bound(t, 20*time.Second))
	require.NoError(t, err)
	assert.Contains(t, found.Output, "go version go"+found.Version)
}

// A client folder goes all the way: load, probe, prepare, start, call, stop.
func TestAClientFolderEndToEnd(t *testing.T) {
	t.Setenv(helperVariable, "honest")
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	dir := filepath.Join(t.TempDir(), "stub")
	require.NoError(t, os.Mkdir(dir, 0o755))
	config := `name: stub
library: example.org/library
language: Shell
documentation: https://example.org/
runtime: { command: [sh, -c, "echo 1.0"] }
inputs: []
prepare: [[cp, "` + os.Args[0] + `", "{cache}/driver"]]
command: ["{cache}/driver", -test.run=none]
capabilities: [credential:access-key, resp2, pubsub, blocking, transactions]
`
	require.NoError(t, os.WriteFile(filepath.Join(dir, ConfigFile), []byte(config), 0o644))
	c, err := Load(dir)
	require.NoError(t, err)
	ctx := bound(t, 20*time.Second)
	found, err := c.Probe(ctx)
	require.NoError(t, err)
	prepared, err := c.Prepare(ctx, found, PrepareOptions{Root: t.TempDir()})
	require.NoError(t, err)
	d, err := Start(ctx, c.Target(prepared), Options{Harness: "entracache test"})
	require.NoError(t, err)
	_, err = d.Call(ctx, accessKeyOpen("c"))
	require.NoError(t, err)
	reply, err := d.Call(ctx, protocol.Command("c", "PING"))
	require.NoError(t, err)
	assert.Equal(t, "PONG", reply.Value.Plain())
	require.NoError(t, d.Stop())
}

func TestTheLastLineIsWhatCanBeRead(t *testing.T) {
	output := &tail{keep: tailLines}
	assert.Equal(t, "it has printed nothing", output.Last())
	_, err := output.Write([]byte("\x1b[1mBUILD\x1b[m of it\n \n\x1b[0m\x1b[0m"))
	require.NoError(t, err)
	assert.Equal(t, "BUILD of it", output.Last())
}
