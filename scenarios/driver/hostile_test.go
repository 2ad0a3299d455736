package driver

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/scenarios/protocol"
)

// dialAndListen waits until the other side hangs up.
func dialAndListen(ctx context.Context, host string, port int) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	_, _ = conn.Read(make([]byte, 1024)) // a client hello would be sent first; the black hole does not mind
	return conn, nil
}

// helper is a driver in a process of its own. All but the honest one say hello properly and then go wrong.
func helper(which string) int {
	switch which {
	case "honest":
		if err := honest().run(context.Background(), os.Stdin, os.Stdout, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	case "silent":
		select {}
	case "dies-first":
		fmt.Fprintln(os.Stderr, "Traceback:\n  ImportError: no module named redis")
		return 7
	case "env":
		for _, name := range []string{"ENTRACACHE_SECRET", "SSL_CERT_FILE", "HOME_FROM_PARENT"} {
			fmt.Fprintf(os.Stderr, "%s=%q\n", name, os.Getenv(name))
		}
	case "deaf-to-signals":
		signal.Ignore(syscall.SIGTERM)
	}
	s := honest()
	s.stubborn = strings.HasPrefix(which, "deaf")
	s.hook = func(run *session, r protocol.Request) bool {
		if r.Op != protocol.OpCommand {
			return false
		}
		switch which {
		case "garbage":
			run.write([]byte("Connected to 127.0.0.1 with eyJhbGciOiJSUzI1NiJ9.eyJvaWQiOiIxIn0.c2ln!\n"))
		case "cut":
			run.write([]byte(`{"id":` + strconv.FormatInt(r.ID, 10) + `,"ok":tr`))
			os.Exit(0)
		case "giant":
			w := bufio.NewWriter(os.Stdout)
			for range 3 << 10 {
				_, _ = w.WriteString(strings.Repeat("g", 1024))
			}
			w.Flush()
		case "crash":
			fmt.Fprintln(os.Stderr, "panic: nil pointer")
			os.Exit(3)
		case "hang":
		case "closes-stdout":
			os.Stdout.Close()
		case "orphan": // leaves a child behind that holds every pipe
			child := exec.Command("sleep", "60")
			child.Stdout, child.Stderr = os.Stdout, os.Stderr
			if err := child.Start(); err != nil {
				panic(err)
			}
			fmt.Fprintln(os.Stderr, "child", child.Process.Pid)
			os.Exit(4)
		default:
			return false
		}
		return true
	}
	if err := s.run(context.Background(), os.Stdin, os.Stdout, os.Stderr); err != nil {
		return 1
	}
	return 0
}

func helperTarget(t *testing.T, which string) Target {
	t.Helper()
	t.Setenv(helperVariable, which)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // else a process built with -race takes a second to exit
	target, err := Exec("exec:'" + os.Args[0] + "' -test.run=none")
	require.NoError(t, err)
	target.Name = which
	return target
}

func bound(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func requireFault(t *testing.T, err error, says ...string) {
	t.Helper()
	var fault *DriverError
	require.ErrorAs(t, err, &fault)
	for _, part := range says {
		assert.Contains(t, err.Error(), part)
	}
	assert.NotContains(t, err.Error(), "\n", "one line")
	assert.NotContains(t, err.Error(), "eyJ", "no token")
}

func TestAHostileProcessIsAccusedByName(t *testing.T) {
	for which, says := range map[string][]string{
		"garbage":       {"driver garbage:", "not protocol", "not JSON", "Connected to 127.0.0.1 with jwt#", "goes to stderr"},
		"cut":           {"driver cut:", "in the middle of a line", `"ok":tr`, "status 0"},
		"giant":         {"driver giant:", "more than 1048576 bytes", "ggggg"},
		"crash":         {"driver crash:", "with unanswered requests (1)", "status 3", "stderr: panic: nil pointer"},
		"closes-stdout": {"driver closes-stdout:", "closed its standard output but still runs"},
		"orphan":        {"driver orphan:", "status 4", "stderr: child "},
	} {
		t.Run(which, func(t *testing.T) {
			d, err := Start(bound(t, 20*time.Second), helperTarget(t, which), Options{Grace: time.Second})
			require.NoError(t, err)
			reply, err := d.Call(bound(t, 20*time.Second), accessKeyOpen("c"))
			require.NoError(t, err)
			require.True(t, reply.OK)
			_, err = d.Call(bound(t, 20*time.Second), protocol.Command("c", "PING"))
			requireFault(t, err, says...)
			_, again := d.Call(bound(t, 20*time.Second), protocol.Command("c", "PING"))
			assert.Equal(t, err, again, "what broke it stays the answer")
			assert.Equal(t, err, d.Err())
			assert.Equal(t, err, d.Stop())
		})
	}
}

func TestAHangIsBoundedByTheCallersDeadline(t *testing.T) {
	d, err := Start(bound(t, 20*time.Second), helperTarget(t, "hang"), Options{Grace: time.Second})
	require.NoError(t, err)
	_, err = d.Call(bound(t, 20*time.Second), accessKeyOpen("c"))
	require.NoError(t, err)
	_, err = d.Call(bound(t, 50*time.Millisecond), protocol.Command("c", "PING"))
	requireFault(t, err, "driver hang:", "did not answer command (request 3) within")
	require.ErrorIs(t, err, context.DeadlineExceeded)

	reply, err := d.Call(bound(t, 20*time.Second), protocol.Close("c"))
	require.NoError(t, err, "other requests are still answered")
	assert.True(t, reply.OK)
	assert.NoError(t, d.Stop())
}

func TestStartSaysWhyADriverDoesNotSayHello(t *testing.T) {
	_, err := Start(bound(t, 20*time.Second), helperTarget(t, "dies-first"), Options{})
	requireFault(t, err, "driver dies-first:", "status 7", "ImportError: no module named redis")

	_, err = Start(bound(t, 20*time.Second), helperTarget(t, "silent"), Options{HelloTimeout: 100 * time.Millisecond})
	requireFault(t, err, "did not answer hello", "within ")

	target, err := Exec("./no-such-driver --flag")
	require.NoError(t, err)
	_, err = Start(bound(t, 20*time.Second), target, Options{})
	requireFault(t, err, "driver no-such-driver: cannot be started", "no such file")
}

func TestStopGoesFromAskingToForce(t *testing.T) {
	for which, says := range map[string]string{
		"honest":          "",
		"deaf":            "still ran 200ms after shutdown",
		"deaf-to-signals": "and after SIGTERM",
	} {
		t.Run(which, func(t *testing.T) {
			d, err := Start(bound(t, 20*time.Second), helperTarget(t, which), Options{Grace: 200 * time.Millisecond})
			require.NoError(t, err)
			err = d.Stop()
			if says == "" {
				require.NoError(t, err)
			} else {
				requireFault(t, err, says)
			}
			assert.True(t, isClosed(d.process.exited()), "no process is left")
			assert.Equal(t, err, d.Stop(), "stopping again says the same")
			_, err = d.Call(bound(t, time.Second), protocol.Close("c"))
			assert.Error(t, err)
		})
	}
}

func TestWhatADriverLeavesBehindEndsWithIt(t *testing.T) {
	d, err := Start(bound(t, 20*time.Second), helperTarget(t, "orphan"), Options{})
	require.NoError(t, err)
	_, err = d.Call(bound(t, 20*time.Second), accessKeyOpen("c"))
	require.NoError(t, err)
	_, err = d.Call(bound(t, 20*time.Second), protocol.Command("c", "PING"))
	require.Error(t, err)
	lines := d.Stderr()
	require.NotEmpty(t, lines)
	pid, err := strconv.Atoi(strings.TrimPrefix(lines[len(lines)-1].Text, "child "))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		// A killed orphan may stay a zombie where nobody collects it.
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(state), ") Z ")
	}, 5*time.Second, 10*time.Millisecond)
}

func TestTheEnvironmentOfADriver(t *testing.T) {
	t.Setenv("ENTRACACHE_SECRET", "ours")
	t.Setenv("HOME_FROM_PARENT", "kept")
	t.Setenv("SSL_CERT_FILE", "/other")
	d, err := Start(bound(t, 20*time.Second), helperTarget(t, "env"), Options{Env: Environment("/bundle.pem")})
	require.NoError(t, err)
	require.NoError(t, d.Stop())
	var seen []string
	for _, line := range d.Stderr() {
		seen = append(seen, line.Text)
	}
	assert.Equal(t, []string{`ENTRACACHE_SECRET=""`, `SSL_CERT_FILE="/bundle.pem"`, `HOME_FROM_PARENT="kept"`}, seen)
}

func TestExecSplitsWords(t *testing.T) {
	for bad, says := range map[string]string{"": "names no command", "'open": "cannot be split", "$(ls)": "cannot be split"} {
		_, err := Exec(ExecPrefix + bad)
		assert.ErrorContains(t, err, says, bad)
	}
}
