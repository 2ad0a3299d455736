package driver

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// skipped skips a test for want of something on the machine, unless nothing may be skipped.
func skipped(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("ENTRACACHE_REQUIRE") == "all" {
		t.Fatal(why)
	}
	t.Skip(why)
}

const testSpeed = 60

// The programs report the time as they see it at the start, and after each way of waiting for 30 s. What is left out of the reports is
// what is not known to work: a Python lock that is waited for with a timeout.
var clockPrograms = []struct{ name, runtime, file, text string }{
	{"Node", "node", "clock.mjs", `
import { createRequire } from 'node:module';
const require = createRequire('/');
const now = what => console.log(Date.now() / 1000, what);
const sleep = () => new Promise(done => setTimeout(done, 30000));
now('start');
await sleep(); now('setTimeout');
await new Promise(done => { const i = setInterval(() => { clearInterval(i); done(); }, 30000); }); now('setInterval');
await new Promise(done => { // as a client's connect timeout is made
  const server = require('net').createServer().listen(0, '127.0.0.1', () => {
    const socket = require('net').connect(server.address().port, '127.0.0.1').setTimeout(30000);
    socket.on('timeout', () => { now('socket timeout'); socket.destroy(); server.close(); done(); });
  });
});
`},
	{"Python", "python3", "clock.py", `
import asyncio, select, socket, time
now = lambda what: print(time.time(), what, flush=True)
now("start")
time.sleep(30); now("sleep")
asyncio.run(asyncio.sleep(30)); now("asyncio")
a, b = socket.socketpair(); a.settimeout(30)
try: a.recv(1)
except TimeoutError: now("socket timeout")
select.select([a], [], [], 30); now("select")
`},
	{"Java", "java", "Clock.java", `
import java.util.concurrent.*;
class Clock {
    static void now(String what) { System.out.println(System.currentTimeMillis() / 1000.0 + " " + what); }
    public static void main(String[] args) throws Exception {
        now("start");
        Thread.sleep(30_000); now("sleep");
        var scheduler = Executors.newSingleThreadScheduledExecutor();
        scheduler.schedule(() -> now("scheduled"), 30, TimeUnit.SECONDS).get();
        scheduler.shutdown();
        try { new CompletableFuture<Void>().get(30, TimeUnit.SECONDS); } catch (TimeoutException e) { now("future"); }
        try (var listener = new java.net.ServerSocket(0)) {
            listener.setSoTimeout(30_000);
            listener.accept();
        } catch (java.net.SocketTimeoutException e) { now("socket timeout"); }
        java.nio.channels.Selector.open().select(30_000); now("select");
    }
}
`},
	{"Go", "go", "clock.go", `package main

import ("context"; "fmt"; "net"; "sync"; "time")

func now(what string) { fmt.Println(float64(time.Now().UnixNano())/1e9, what) }

func main() {
	now("start")
	time.Sleep(30 * time.Second); now("sleep")
	ctx, _ := context.WithTimeout(context.Background(), 30*time.Second); <-ctx.Done(); now("deadline")
	<-time.NewTicker(30 * time.Second).C; now("ticker")
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	l.(*net.TCPListener).SetDeadline(time.Now().Add(30 * time.Second)); l.Accept(); now("network deadline")
	// Timers while all processors are busy.
	var w sync.WaitGroup
	done := make(chan struct{})
	for range 4 { w.Go(func() { for { select { case <-done: return; default: } } }) }
	begin := time.Now()
	time.Sleep(30 * time.Second); now("sleep")
	close(done); w.Wait()
	if since := time.Since(begin); since < 30*time.Second { panic(since) }
}
`},
}

// TestProcessesSeeVirtualTime: what a runtime calls now, and each of its ways of waiting, keep to the virtual clock.
func TestProcessesSeeVirtualTime(t *testing.T) {
	if runtime.GOOS != "linux" {
		skipped(t, errNoVirtualTime.Error())
	}
	for _, program := range clockPrograms {
		t.Run(program.name, func(t *testing.T) {
			if _, err := exec.LookPath(program.runtime); err != nil {
				skipped(t, program.runtime+" is not installed")
			}
			v, err := NewVirtualTime(testSpeed)
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, v.Close()) })
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, program.file), []byte(program.text), 0o600))
			words, by, library := []string{program.runtime, program.file}, ByLibfaketime, ""
			if program.runtime == "go" {
				words, by = []string{buildWithOverlay(t, dir, program.file)}, ByOverlay
			} else {
				library = libfaketime(t, v)
			}
			env, err := v.Environment(by, library)
			require.NoError(t, err)
			checkClock(t, v, command(t.Context(), words, dir, env))
		})
	}
}

// checkClock compares each time that a program prints with the virtual clock. Between its looking and ours real time passes, which
// counts for it, and is long on a busy machine; it cannot have looked before the line before was read.
func checkClock(t *testing.T, v *VirtualTime, cmd *exec.Cmd) {
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	begin := v.clock.Now()
	require.NoError(t, cmd.Start())
	lines, last := 0, time.Time{}
	for scan := bufio.NewScanner(out); scan.Scan(); lines++ {
		now := v.clock.Now()
		text, what, _ := strings.Cut(scan.Text(), " ")
		seconds, err := strconv.ParseFloat(text, 64)
		require.NoError(t, err, scan.Text())
		saw := time.UnixMilli(int64(seconds * 1000))
		assert.False(t, saw.Before(begin.Add(-time.Second)) || saw.After(now.Add(time.Second)), "%s: it saw %s, the clock showed %s at the start and %s now", what, saw, begin, now)
		if what != "start" {
			// A wait is never cut short, and a busy machine may draw it out, but not to a real half minute.
			waited := saw.Sub(last)
			assert.GreaterOrEqual(t, waited, 30*time.Second-100*time.Millisecond, what)
			assert.Less(t, waited, testSpeed*20*time.Second, what)
		}
		t.Logf("%-16s the process %s behind", what, now.Sub(saw).Round(time.Millisecond))
		last = saw
	}
	require.NoError(t, cmd.Wait())
	assert.Greater(t, lines, 3)
}

func libfaketime(t *testing.T, v *VirtualTime) string {
	t.Helper()
	library, err := FindLibfaketime(t.Context(), "", v)
	if err != nil {
		skipped(t, err.Error())
	}
	return library
}

func buildWithOverlay(t *testing.T, dir, file string) string {
	t.Helper()
	goroot, err := gorootOf(t.Context(), dir)
	require.NoError(t, err)
	files, err := overlayFiles(goroot)
	require.NoError(t, err)
	env, err := writeOverlay(filepath.Join(dir, "over lay"), goroot, files)
	require.NoError(t, err)
	out, err := command(t.Context(), []string{"go", "build", "-o", "program", file}, dir, env).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return filepath.Join(dir, "program")
}

// TestOverlayRefusesAnotherRuntime: a Go installation whose runtime is not as expected is named, with what is missing.
func TestOverlayRefusesAnotherRuntime(t *testing.T) {
	if runtime.GOOS != "linux" {
		skipped(t, errNoVirtualTime.Error())
	}
	goroot, err := gorootOf(t.Context(), ".")
	require.NoError(t, err)
	other := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(other, "src", "runtime"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(other, "VERSION"), []byte("go9.99\ntime 2030\n"), 0o600))
	_, err = overlayFiles(other)
	assert.ErrorContains(t, err, "go9.99")
	for _, p := range overlayPatches {
		text, err := os.ReadFile(filepath.Join(goroot, "src", "runtime", p.file))
		require.NoError(t, err)
		changed := strings.Replace(string(text), strings.Split(p.old, "\n")[0], "changed", 1)
		require.NoError(t, os.WriteFile(filepath.Join(other, "src", "runtime", p.file), []byte(changed), 0o600))
	}
	_, err = overlayFiles(other)
	assert.ErrorContains(t, err, "go9.99 cannot be sped up")
	assert.ErrorContains(t, err, "found 0 times")
}

// TestPreloaded: a process that ignores LD_PRELOAD, as a statically linked one does, is not taken for one that sees the virtual time.
func TestPreloaded(t *testing.T) {
	if runtime.GOOS != "linux" {
		skipped(t, errNoVirtualTime.Error())
	}
	if _, err := exec.LookPath("python3"); err != nil {
		skipped(t, "python3 is not installed")
	}
	v, err := NewVirtualTime(testSpeed)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, v.Close()) })
	library := libfaketime(t, v)
	start := func(program string, speedUp bool) error {
		target, err := Exec("python3 -c '" + program + "'")
		require.NoError(t, err)
		if speedUp {
			target, err = target.Virtual(v, ByLibfaketime, library)
			require.NoError(t, err)
		} else {
			target.preloaded = library // but not in its environment
		}
		d, err := Start(t.Context(), target, Options{})
		if err == nil {
			assert.NoError(t, d.Stop())
		}
		return err
	}
	const driver = `import json, sys
for line in sys.stdin:
    r = json.loads(line)
    a = {"id": r["id"], "ok": True}
    if r["op"] == "hello":
        a.update(protocol=1, capabilities=["resp2"], driver={"name": "d", "language": "Python", "runtime": "3", "os": "linux", "libraries": [{"name": "l", "version": "1"}]})
    print(json.dumps(a), flush=True)
    if r["op"] == "shutdown": break
`
	assert.NoError(t, start(driver, true))
	assert.ErrorContains(t, start(driver, false), "cannot be sped up: it has not loaded "+library)
}

// TestLibfaketimeIsTried: a library that does not speed a process up is not used.
func TestLibfaketimeIsTried(t *testing.T) {
	if runtime.GOOS != "linux" {
		skipped(t, errNoVirtualTime.Error())
	}
	v, err := NewVirtualTime(MaxVirtualSpeed)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, v.Close()) })
	_, err = FindLibfaketime(t.Context(), filepath.Join(t.TempDir(), "libfaketime.so.1"), v)
	assert.ErrorContains(t, err, "--faketime")
	notOne, err := filepath.Glob("/lib/*-linux-gnu/libm.so.6")
	require.NoError(t, err)
	if len(notOne) == 0 {
		skipped(t, "no other library to preload was found")
	}
	v.clock.Advance(time.Hour) // what passes while a process starts could be less than the second that is allowed
	_, err = FindLibfaketime(context.Background(), notOne[0], v)
	assert.ErrorContains(t, err, "expected")
}

func TestVirtualSpeeds(t *testing.T) {
	for _, bad := range []float64{0, 0.5, 1.5, MaxVirtualSpeed + 1} {
		_, err := NewVirtualTime(bad)
		assert.ErrorContains(t, err, fmt.Sprint(MaxVirtualSpeed), "%g", bad)
	}
}
