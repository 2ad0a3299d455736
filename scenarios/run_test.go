package scenarios_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/features"
	"github.com/entracache/entracache/scenarios"
	"github.com/entracache/entracache/scenarios/driver"
	"github.com/entracache/entracache/scenarios/mutant"
	"github.com/entracache/entracache/scenarios/protocol"
	"github.com/entracache/entracache/scenarios/report"
)

// played is what a run against an in-process driver gave.
type played struct {
	report *report.Report
	jsonl  string
}

func (p played) status(t *testing.T, id string) report.Result {
	t.Helper()
	r, ok := p.report.Result("driver", id)
	require.True(t, ok, "no result for %s", id)
	return r
}

type serveFunc func(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error

func play(t *testing.T, serve serveFunc, known string, change func(*scenarios.Run), ids ...string) played {
	t.Helper()
	return playFlaky(t, serve, known, nil, change, ids...)
}

func playFlaky(t *testing.T, serve serveFunc, known string, flaky driver.KnownFailures, change func(*scenarios.Run), ids ...string) played {
	t.Helper()
	failures, err := driver.ParseKnownFailures("known_failures.txt", strings.NewReader(known))
	require.NoError(t, err)
	return playSubject(t, serve, func(r *scenarios.Run, s *scenarios.Subject) {
		s.Known, s.Flaky = failures, flaky
		if change != nil {
			change(r)
		}
	}, ids...)
}

func playSubject(t *testing.T, serve serveFunc, change func(*scenarios.Run, *scenarios.Subject), ids ...string) played {
	t.Helper()
	return playUntil(t.Context(), t, serve, change, ids...)
}

// playUntil is playSubject in a run that is ended by its context.
func playUntil(ctx context.Context, t *testing.T, serve serveFunc, change func(*scenarios.Run, *scenarios.Subject), ids ...string) played {
	t.Helper()
	c, err := scenarios.Load(features.FS)
	require.NoError(t, err)
	list, err := c.Select(ids, "")
	require.NoError(t, err)
	start := func(ctx context.Context, env map[string]string) (*driver.Driver, error) {
		return driver.Start(ctx, driver.InProcess("driver", serve), driver.Options{Env: env})
	}
	d, err := start(t.Context(), nil)
	require.NoError(t, err)
	lane, err := scenarios.NewLane("scaled", 0)
	require.NoError(t, err)
	run, subject := &scenarios.Run{}, &scenarios.Subject{Name: "driver", Driver: d, Lane: lane, Fresh: start}
	change(run, subject)
	var jsonl bytes.Buffer
	w := report.NewWriter(&jsonl, report.Run{Version: "test", Start: time.Now()})
	w.Driver(report.Driver{Name: "driver", Info: d.Hello().Driver})
	for _, s := range list {
		w.Scenario(s.Report())
	}
	crashes := run.Play(ctx, list, []*scenarios.Subject{subject}, w)
	_ = subject.Driver.Stop() // a broken driver says so again
	r, err := w.End(report.End{Complete: true, Crashes: crashes})
	require.NoError(t, err)
	return played{r, jsonl.String()}
}

func TestKnownFailures(t *testing.T) {
	t.Parallel()
	known := "signin.object-id  # sends the client ID\nsignin.scope  # not true any more\n"
	p := play(t, mutant.Serve(mutant.SendsClientID), known, nil, "signin.object-id", "signin.scope", "policy.reader-reads", "refused.once-per-connection")
	x := p.status(t, "signin.object-id")
	assert.Equal(t, report.XFail, x.Status)
	assert.Equal(t, "sends the client ID", x.Reason)
	assert.Equal(t, report.XFail, p.status(t, "signin.scope").Status, "the refused command is a failure, too")
	assert.Equal(t, report.Fail, p.status(t, "policy.reader-reads").Status)
	assert.Equal(t, 1, p.report.End.Exit)

	p = play(t, mutant.Serve(mutant.None), known, nil, "signin.object-id", "signin.tls")
	x = p.status(t, "signin.object-id")
	assert.Equal(t, report.XPass, x.Status, "a known failure that passes is stale")
	assert.Contains(t, x.Reason, "known_failures.txt:1")
	assert.Equal(t, report.Pass, p.status(t, "signin.tls").Status)
	assert.Equal(t, 1, p.report.End.Exit)
}

func TestWhatIsKnownOfAnotherVersionMayPass(t *testing.T) {
	t.Parallel()
	p := playSubject(t, mutant.Serve(mutant.None), func(_ *scenarios.Run, s *scenarios.Subject) {
		s.OtherVersion, s.Known = true, driver.KnownFailures{{Pattern: "signin.*", Reason: "of the locked one"}}
	}, "signin.object-id")
	assert.Equal(t, report.Pass, p.status(t, "signin.object-id").Status)
	assert.Equal(t, 0, p.report.End.Exit)
}

func TestKnownFlakyIsNeverRed(t *testing.T) {
	t.Parallel()
	flaky, err := driver.ParseKnownFailures("known_flaky.txt", strings.NewReader("signin.*  # now and then"))
	require.NoError(t, err)
	for bug, want := range map[mutant.Bug]report.Status{mutant.None: report.FlakyPass, mutant.SendsClientID: report.FlakyFail} {
		p := playFlaky(t, mutant.Serve(bug), "", flaky, nil, "signin.object-id")
		x := p.status(t, "signin.object-id")
		assert.Equal(t, want, x.Status)
		assert.Equal(t, "now and then", x.Reason)
		assert.Equal(t, 0, p.report.End.Exit)
		assert.Equal(t, report.Nonconformant, p.report.Summary("driver").Conformance)
	}
}

func TestFailureTellsWhatWasSeen(t *testing.T) {
	t.Parallel()
	p := play(t, mutant.Serve(mutant.SendsClientID), "", func(r *scenarios.Run) {
		r.Again = func(subject, scenario string) string { return "again " + subject + " " + scenario }
	}, "refused.client-id", "signin.object-id")
	x := p.status(t, "signin.object-id")
	assert.Equal(t, report.Fail, x.Status)
	assert.Equal(t, `the client runs "PING"`, x.Step)
	assert.Positive(t, x.StepLine)
	assert.Equal(t, "PING to succeed", x.Expected)
	assert.Contains(t, x.Actual, "WRONGPASS")
	assert.Equal(t, "again driver signin.object-id", x.Again)
	var timeline strings.Builder
	require.NoError(t, report.WriteTimeline(&timeline, "", x.Timeline))
	assert.Regexp(t, `cache +1 ← HELLO \S+ \(the client ID\) +jwt#[0-9a-f]{4} \(exp \+6\dm.*\) → refused: username-mismatch`, timeline.String())
	assert.Regexp(t, `entra +← client_credentials https://redis.azure.com/.default +→ jwt#[0-9a-f]{4}`, timeline.String())
	assert.NotContains(t, p.jsonl, "eyJ", "no token is written anywhere")
	assert.NotContains(t, p.jsonl, "fake-secret", "no secret is written anywhere")
	assert.Empty(t, p.status(t, "refused.client-id").Timeline, "a pass has no timeline unless asked for")
}

// failing serves the reference client, whose answers to PING are errors from the first to the last of a count that includes the warm-up.
func failing(first, last int) serveFunc {
	n := 0
	return rewriting(func(r *protocol.Reply) {
		if r.Value == nil || r.Value.Plain() != "PONG" {
			return
		}
		if n++; n >= first && n <= last {
			*r = protocol.Reply{ID: r.ID, Error: &protocol.Error{Kind: protocol.KindRedis, Message: "WRONGPASS"}}
		}
	})
}

// TestUnexpectedIsPlayedAgain: what most plays say counts, and a second play is enough where it says the same.
func TestUnexpectedIsPlayedAgain(t *testing.T) {
	t.Parallel()
	three := func(r *scenarios.Run) { r.Plays = 3 }
	for name, c := range map[string]struct {
		last          int
		known         string
		status        report.Status
		plays, agreed int
		exit          int
	}{
		"once":              {last: 2, status: report.Pass, plays: 3, agreed: 2},
		"twice":             {last: 3, status: report.Fail, plays: 2, agreed: 2, exit: 1},
		"never, as listed":  {last: 1, known: "signin.object-id  # x", status: report.XPass, plays: 2, agreed: 2, exit: 1},
		"always, as listed": {last: 9, known: "signin.object-id  # x", status: report.XFail},
		"never":             {last: 1, status: report.Pass},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := play(t, failing(2, c.last), c.known, three, "signin.object-id")
			x := p.status(t, "signin.object-id")
			assert.Equal(t, c.status, x.Status)
			assert.Equal(t, []int{c.plays, c.agreed}, []int{x.Plays, x.Agreed})
			assert.Equal(t, c.exit, p.report.End.Exit)
			var matrix strings.Builder
			require.NoError(t, p.report.WriteMatrix(&matrix))
			assert.Equal(t, c.plays != c.agreed, strings.Contains(matrix.String(), "driver: signin.object-id: pass in 2 of 3 plays"), matrix.String())
		})
	}
}

func TestWhatWasToBePlayedAgainIsReportedWhenARunIsEnded(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := playUntil(ctx, t, failing(2, 9), func(r *scenarios.Run, _ *scenarios.Subject) {
		r.Plays, r.Replaying = 3, func(int) { cancel() }
	}, "signin.object-id")
	x := p.status(t, "signin.object-id")
	assert.Equal(t, report.Fail, x.Status, x.Reason)
	assert.NotEmpty(t, x.Timeline)
	assert.Zero(t, x.Plays, "the first play counts")
}

func TestShouldIsAWarning(t *testing.T) {
	t.Parallel()
	p := play(t, mutant.Serve(mutant.RepeatsRefusedAuth), "", nil, "refused.once-per-connection")
	assert.Equal(t, report.Warn, p.status(t, "refused.once-per-connection").Status)
	assert.Equal(t, 0, p.report.End.Exit)
}

// declaring wraps the reference driver and changes the capabilities of its hello.
func declaring(capabilities ...protocol.Capability) serveFunc {
	return rewriting(func(r *protocol.Reply) {
		if r.Driver != nil {
			r.Capabilities = capabilities
		}
	})
}

func TestSkipNamesTheCapability(t *testing.T) {
	t.Parallel()
	p := play(t, declaring(protocol.CapClientSecret), "", nil, "signin.resp3", "signin.object-id")
	x := p.status(t, "signin.resp3")
	assert.Equal(t, report.Skip, x.Status)
	assert.Equal(t, "does not declare resp3", x.Reason)
	assert.Equal(t, 0, p.report.End.Exit)
	assert.Equal(t, report.Partial, p.report.Summary("driver").Conformance)

	p = play(t, declaring(protocol.CapClientSecret), "", nil, "signin.resp3")
	assert.Equal(t, 3, p.report.End.Exit, "nothing was played: that is no success")
}

// rewriting serves the reference client and lets f change every reply.
func rewriting(f func(*protocol.Reply)) serveFunc {
	return func(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
		return mutant.Serve(mutant.None)(ctx, stdin, &replyWriter{stdout, f}, stderr)
	}
}

type replyWriter struct {
	out io.Writer
	f   func(*protocol.Reply)
}

func (w *replyWriter) Write(line []byte) (int, error) {
	parsed, err := protocol.ParseLine(bytes.TrimSpace(line))
	if err != nil {
		return 0, err
	}
	for _, op := range []protocol.Op{protocol.OpHello, protocol.OpCommand, protocol.OpOpen} {
		r, err := parsed.Reply(op)
		if err != nil {
			continue
		}
		w.f(&r)
		changed, err := protocol.EncodeReply(op, r)
		if err != nil {
			return 0, err
		}
		_, err = w.out.Write(changed)
		return len(line), err
	}
	_, err = w.out.Write(line)
	return len(line), err
}

func TestStartsAreKeptApartInASlowerLane(t *testing.T) {
	t.Parallel()
	slower := rewriting(func(r *protocol.Reply) {
		if r.Driver != nil {
			r.Limits = &protocol.Limits{MinTokenLifetimeMS: 11_000} // the default lane lets tokens live for ten seconds
		}
	})
	start := time.Now()
	p := play(t, slower, "", nil, "signin.object-id", "signin.scope", "signin.tls", "signin.token-is-the-password")
	assert.GreaterOrEqual(t, time.Since(start), 4*200*time.Millisecond)
	assert.Equal(t, report.Pass, p.status(t, "signin.scope").Status)
}

func TestProcessesOfTheirOwnStartInTurn(t *testing.T) {
	t.Parallel()
	var now, most, all atomic.Int32
	p := playSubject(t, mutant.Serve(mutant.None), func(_ *scenarios.Run, s *scenarios.Subject) {
		start := s.Fresh
		s.Fresh = func(ctx context.Context, env map[string]string) (*driver.Driver, error) {
			all.Add(1)
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer now.Add(-1)
			time.Sleep(100 * time.Millisecond) // long enough for another one to begin
			return start(ctx, env)
		}
	}, "trouble.refused-renewal", "trouble.lost-reply", "trouble.late-reply", "credentials.system-assigned", "credentials.user-assigned", "outage.one-error")
	assert.EqualValues(t, 6, all.Load())
	assert.EqualValues(t, 1, most.Load(), "at once")
	for _, id := range []string{"trouble.lost-reply", "credentials.system-assigned"} {
		assert.Equal(t, report.Pass, p.status(t, id).Status, p.status(t, id))
	}
}

func TestUnsupportedThoughDeclaredIsTheDriversFault(t *testing.T) {
	t.Parallel()
	p := play(t, rewriting(func(r *protocol.Reply) {
		if r.Value != nil {
			*r = protocol.Reply{ID: r.ID, Error: &protocol.Error{Kind: protocol.KindUnsupported, Message: "no commands today"}}
		}
	}), "", nil, "signin.object-id")
	x := p.status(t, "signin.object-id")
	assert.Equal(t, report.Error, x.Status)
	assert.Contains(t, x.Reason, "no commands today")
	assert.Equal(t, 3, p.report.End.Exit)
}

func TestInternalErrorIsTheDriversFault(t *testing.T) {
	t.Parallel()
	p := play(t, rewriting(func(r *protocol.Reply) {
		if r.Value != nil {
			*r = protocol.Reply{ID: r.ID, Error: &protocol.Error{Kind: protocol.KindInternal, Message: "KeyError: 'x'"}}
		}
	}), "", nil, "signin.object-id")
	assert.Equal(t, report.Error, p.status(t, "signin.object-id").Status)
}

// crashing serves the reference client and crashes when it has been asked to close so many clients.
func crashing(closesAllowed int) serveFunc {
	return func(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
		ctx, cancel := context.WithCancelCause(ctx)
		in, out := io.Pipe()
		go func() {
			closes := 0
			buffer := make([]byte, protocol.MaxLine)
			for {
				n, err := stdin.Read(buffer)
				closes += bytes.Count(buffer[:n], []byte(`"op":"close"`))
				if closes > closesAllowed {
					cancel(errors.New("boom"))
					_ = out.CloseWithError(io.EOF)
					return
				}
				if _, werr := out.Write(buffer[:n]); err != nil || werr != nil {
					_ = out.CloseWithError(io.EOF)
					return
				}
			}
		}()
		if err := mutant.Serve(mutant.None)(ctx, in, stdout, stderr); err != nil {
			return err
		}
		return context.Cause(ctx)
	}
}

var fourScenarios = []string{"signin.object-id", "signin.scope", "signin.tls", "signin.token-is-the-password"}

// TestCrashIsOvercome: what a dying process took with it is played again, and the report tells of it.
func TestCrashIsOvercome(t *testing.T) {
	t.Parallel()
	// One close for the warm-up, two for scenarios: the first process dies with the third scenario.
	p := play(t, crashing(3), "", func(r *scenarios.Run) { r.Parallel = 1 }, fourScenarios...)
	for _, x := range p.report.Results {
		assert.Equal(t, report.Pass, x.Status, "%s %s", x.Scenario, x.Reason)
	}
	assert.Len(t, p.report.Results, 4)
	require.Len(t, p.report.End.Crashes, 1)
	assert.Contains(t, p.report.End.Crashes[0], "driver: a process ended")
	assert.Contains(t, p.report.End.Crashes[0], "boom")
}

// TestCrashEveryTimeIsAnError: a driver that dies again and again must not take finished results with it, nor let the rest pass.
func TestCrashEveryTimeIsAnError(t *testing.T) {
	t.Parallel()
	p := play(t, crashing(0), "", func(r *scenarios.Run) { r.Parallel = 1 }, fourScenarios...)
	var broken int
	for _, x := range p.report.Results {
		if x.Status.Broken() {
			broken++
		}
	}
	assert.Len(t, p.report.Results, 4)
	assert.Equal(t, 4, broken)
	assert.Equal(t, 3, p.report.End.Exit)
	_, err := report.Read(strings.NewReader(p.jsonl))
	assert.NoError(t, err, "the report is whole")
}

// TestEndedRunIsNotRun: nor does what did not begin keep anybody waiting, in a lane where starts are kept apart.
func TestEndedRunIsNotRun(t *testing.T) {
	t.Parallel()
	c, err := scenarios.Load(features.FS)
	require.NoError(t, err)
	d, err := driver.Start(t.Context(), driver.InProcess("driver", mutant.Serve(mutant.None)), driver.Options{})
	require.NoError(t, err)
	defer func() { assert.NoError(t, d.Stop()) }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	lane, err := scenarios.NewLane("virtual", 0)
	require.NoError(t, err)
	defer func() { assert.NoError(t, lane.Close()) }()
	w := report.NewWriter(io.Discard, report.Run{Version: "test", Start: time.Now()})
	w.Driver(report.Driver{Name: "driver", Info: d.Hello().Driver})
	for _, s := range c.Scenarios {
		w.Scenario(s.Report())
	}
	start := time.Now()
	(&scenarios.Run{}).Play(ctx, c.Scenarios, []*scenarios.Subject{{Name: "driver", Driver: d, Lane: lane}}, w)
	assert.Less(t, time.Since(start), time.Duration(len(c.Scenarios))*100*time.Millisecond, "half of the gaps between the starts")
	r, err := w.End(report.End{})
	require.NoError(t, err)
	require.Len(t, r.Results, len(c.Scenarios))
	for _, x := range r.Results {
		assert.Equal(t, report.NotRun, x.Status, x.Scenario)
	}
	assert.Equal(t, 3, r.End.Exit)
}

// TestSilenceOfTheDriverIsNotTheLibrarys: who answers nothing at all is a broken driver; a single command without an answer is
// what the library's user would see.
func TestSilenceOfTheDriverIsNotTheLibrarys(t *testing.T) {
	t.Parallel()
	silentAfter := func(all bool) serveFunc {
		return func(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
			return mutant.Serve(mutant.None)(ctx, stdin, &muteWriter{out: stdout, all: all}, stderr)
		}
	}
	for all, want := range map[bool]report.Status{true: report.Error, false: report.Fail} {
		p := play(t, silentAfter(all), "", func(r *scenarios.Run) { r.Patience = 2 * time.Second }, "signin.object-id")
		x := p.status(t, "signin.object-id")
		assert.Equal(t, want, x.Status, "%+v", x)
	}
}

// muteWriter swallows the answers to commands, and with all set everything from then on.
type muteWriter struct {
	out io.Writer
	all bool
	mu  sync.Mutex
	off bool
}

func (w *muteWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	isAnswer := bytes.Contains(line, []byte(`"PONG"`))
	w.off = w.off || isAnswer && w.all
	if w.off || isAnswer {
		return len(line), nil
	}
	return w.out.Write(line)
}
