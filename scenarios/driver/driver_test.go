package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/entracache/entracache/scenarios/protocol"
)

func start(t *testing.T, s *stub, options Options) *Driver {
	t.Helper()
	d, err := Start(bound(t, 20*time.Second), s.target(), options)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Stop() })
	return d
}

func TestManyCallsAtOnceGetTheirOwnAnswers(t *testing.T) {
	defer goleak.VerifyNone(t)
	var mu sync.Mutex
	sent, received := 0, 0
	d, err := Start(bound(t, 20*time.Second), honest().target(), Options{OnLine: func(line TranscriptLine) {
		mu.Lock() // the race detector would tell if it were called at the same time twice
		defer mu.Unlock()
		if line.FromDriver {
			received++
		} else {
			sent++
		}
		assert.NotContains(t, line.Text, "hush-hush-key")
		assert.NotContains(t, line.Text, "\n")
	}})
	require.NoError(t, err)
	assert.Equal(t, "v1.2.3", d.Library().Version)
	assert.True(t, d.Declares(protocol.CapPubSub))
	assert.False(t, d.Declares(protocol.CapRESP3))
	var group sync.WaitGroup
	for c := range 10 {
		client := fmt.Sprintf("c-%d", c)
		reply, err := d.Call(bound(t, 20*time.Second), accessKeyOpen(client))
		require.NoError(t, err)
		require.True(t, reply.OK)
		for n := range 50 {
			group.Go(func() {
				text := fmt.Sprintf("%s/%d", client, n)
				reply, err := d.Call(bound(t, 20*time.Second), protocol.Command(client, "ECHO", text))
				if assert.NoError(t, err) {
					assert.Equal(t, text, reply.Value.Text)
				}
			})
		}
	}
	group.Wait()
	require.NoError(t, d.Stop())
	assert.Equal(t, 1+10+500+1, sent)
	assert.Equal(t, sent, received)
}

func TestALibrarysFailureIsAnAnswer(t *testing.T) {
	d := start(t, honest(), Options{})
	reply, err := d.Call(bound(t, 20*time.Second), protocol.Command("nobody", "PING"))
	require.NoError(t, err)
	assert.False(t, reply.OK)
	assert.Equal(t, protocol.KindClosed, reply.Error.Kind)
}

func TestOurOwnBadLineIsOurFault(t *testing.T) {
	d := start(t, honest(), Options{})
	_, err := d.Call(bound(t, 20*time.Second), protocol.Command("c"))
	var ours *HarnessError
	require.ErrorAs(t, err, &ours)
	assert.ErrorContains(t, err, "harness error: was about to send a bad line: request command: args: missing")
	require.NoError(t, d.Err())
	_, err = d.Call(bound(t, 20*time.Second), protocol.Close("c"))
	assert.NoError(t, err, "the driver is not to blame and goes on")
}

func TestFaultsInAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		reply protocol.Reply
		raw   string
		says  []string
		fatal bool
	}{
		"internal":                 {reply: protocol.Reply{Error: &protocol.Error{Kind: protocol.KindInternal, Message: "KeyError: 'c'"}}, says: []string{"a bug of its own in answer to command", "KeyError"}},
		"unsupported but declared": {reply: protocol.Reply{Error: &protocol.Error{Kind: protocol.KindUnsupported, Message: "no"}}, says: []string{"declares all that this command needs"}},
		"bad value":                {raw: `{"id":%d,"ok":true,"reply":{"type":"integer","value":"1"}}`, says: []string{"bad answer", "reply.value"}},
		"answers twice":            {raw: `{"id":%d,"ok":true,"reply":{"type":"null"}}` + "\n" + `{"id":%[1]d,"ok":true,"reply":{"type":"null"}}`, says: []string{"does not wait for an answer"}, fatal: true},
		"answers nobody":           {raw: `{"id":4711,"ok":true}`, says: []string{"answered request 4711, which does not wait"}, fatal: true},
		"bad event":                {raw: `{"event":"message","client":"c"}`, says: []string{"bad event", "channel: missing"}, fatal: true},
		"event for nobody":         {raw: `{"event":"message","client":"d","channel":"n","value":"v"}`, says: []string{`client "d", which was never opened`}, fatal: true},
		"blank line":               {raw: "", says: []string{"not protocol: line: empty"}, fatal: true},
		"Windows line end":         {raw: `{"id":%d,"ok":true,"reply":{"type":"null"}}` + "\r"},
	} {
		t.Run(name, func(t *testing.T) {
			s := honest()
			s.hook = func(run *session, r protocol.Request) bool {
				if r.Op != protocol.OpCommand {
					return false
				}
				if test.reply.Error != nil {
					run.answer(r, test.reply)
					return true
				}
				raw := test.raw
				if strings.Contains(raw, "%d") {
					raw = fmt.Sprintf(raw, r.ID)
				}
				run.write([]byte(raw + "\n"))
				return true
			}
			d := start(t, s, Options{})
			_, err := d.Call(bound(t, 20*time.Second), accessKeyOpen("c"))
			require.NoError(t, err)
			_, err = d.Call(bound(t, 20*time.Second), protocol.Command("c", "PING"))
			if test.fatal {
				select {
				case <-d.Broken():
				case <-time.After(20 * time.Second):
					t.Fatal("the driver was not found out")
				}
				requireFault(t, d.Err(), test.says...)
				return
			}
			if test.says == nil {
				require.NoError(t, err)
			} else {
				requireFault(t, err, test.says...)
			}
			_, err = d.Call(bound(t, 20*time.Second), protocol.Close("c"))
			assert.NoError(t, err, "only the one call is lost")
		})
	}
}

func TestALateAnswerIsNoFault(t *testing.T) {
	release := make(chan struct{})
	s := honest()
	s.hook = func(run *session, r protocol.Request) bool {
		if r.Op == protocol.OpCommand && r.Args[0] == "SLOW" {
			<-release
			value := protocol.Null()
			run.answer(r, protocol.Reply{OK: true, Value: &value})
			return true
		}
		return false
	}
	d := start(t, s, Options{})
	_, err := d.Call(bound(t, 20*time.Second), accessKeyOpen("c"))
	require.NoError(t, err)
	_, err = d.Call(bound(t, 20*time.Millisecond), protocol.Command("c", "SLOW"))
	require.ErrorIs(t, err, context.DeadlineExceeded)

	cancelled, cancel := context.WithCancel(context.Background())
	asked := make(chan error, 1)
	go func() { _, err := d.Call(cancelled, protocol.Command("c", "SLOW")); asked <- err }()
	cancel()
	err = <-asked
	require.ErrorIs(t, err, context.Canceled)
	var fault *DriverError
	assert.False(t, errors.As(err, &fault), "being called off is nobody's fault")

	close(release)
	reply, err := d.Call(bound(t, 20*time.Second), protocol.Command("c", "PING"))
	require.NoError(t, err)
	assert.True(t, reply.OK)
	require.NoError(t, d.Stop())
}

func TestEventsArriveInOrderAndWithoutLoss(t *testing.T) {
	const messages = 500
	var callbacks int
	d := start(t, honest(), Options{OnEvent: func(Event) { callbacks++ }})
	ctx := bound(t, 20*time.Second)
	for _, client := range []string{"sub", "other", "pub"} {
		_, err := d.Call(ctx, accessKeyOpen(client))
		require.NoError(t, err)
	}
	_, err := d.Call(ctx, protocol.Subscribe("sub", "news"))
	require.NoError(t, err)
	last := make(chan error, 1)
	go func() {
		_, err := d.WaitEvent(ctx, "sub", func(e Event) bool { return e.Value == fmt.Sprint(messages-1) })
		last <- err
	}()
	for n := range messages {
		_, err := d.Call(ctx, protocol.Command("pub", "PUBLISH", "news", fmt.Sprint(n)))
		require.NoError(t, err)
	}
	require.NoError(t, <-last)
	events := d.Events("sub")
	require.Len(t, events, messages)
	for n, event := range events {
		assert.Equal(t, fmt.Sprint(n), event.Value)
		assert.False(t, event.Time.IsZero())
	}
	assert.Empty(t, d.Events("other"))

	_, err = d.WaitEvent(bound(t, 10*time.Millisecond), "other", func(Event) bool { return true })
	require.ErrorIs(t, err, context.DeadlineExceeded)
	d.Forget("sub")
	assert.Empty(t, d.Events("sub"))
	require.NoError(t, d.Stop())
	assert.Equal(t, messages, callbacks)
}

func TestLiars(t *testing.T) {
	require.NoError(t, start(t, honest(), Options{}).LiarProbe(bound(t, 20*time.Second)))
	s := honest()
	s.liar = true
	err := start(t, s, Options{}).LiarProbe(bound(t, 20*time.Second))
	requireFault(t, err, "driver stub: was asked for the op", "which does not exist, and answered ok; expected an error of kind unsupported")

	s = honest()
	s.hook = func(run *session, r protocol.Request) bool {
		if r.Op == protocol.OpOpen {
			run.fail(r, protocol.KindNetwork, "connection refused")
			return true
		}
		return false
	}
	err = start(t, s, Options{}).LiarProbe(bound(t, 20*time.Second))
	requireFault(t, err, "open with the credential kind", "answered network: connection refused")
}

func TestTheEnvironmentOfAFunction(t *testing.T) {
	t.Setenv("HOME_FROM_PARENT", "kept")
	t.Setenv("ENTRACACHE_SECRET", "ours")
	seen := make(chan []string, 1)
	look := func(ctx context.Context, _ io.Reader, _, _ io.Writer) error {
		seen <- []string{Getenv(ctx, "IDENTITY_ENDPOINT"), Getenv(ctx, "HOME_FROM_PARENT"), Getenv(ctx, "ENTRACACHE_SECRET")}
		return nil
	}
	_, err := Start(bound(t, 20*time.Second), InProcess("looks", look), Options{Env: map[string]string{"IDENTITY_ENDPOINT": "http://127.0.0.1:1"}})
	require.Error(t, err, "it says no hello")
	assert.Equal(t, []string{"http://127.0.0.1:1", "kept", ""}, <-seen)
	assert.Equal(t, "kept", Getenv(t.Context(), "HOME_FROM_PARENT"), "in a process of its own")
}

func TestACrashInProcess(t *testing.T) {
	for name, test := range map[string]struct {
		run  func(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error
		says string
	}{
		"panic":  {func(context.Context, io.Reader, io.Writer, io.Writer) error { panic("nil map") }, "it ended with panic: nil map"},
		"error":  {func(context.Context, io.Reader, io.Writer, io.Writer) error { return errors.New("no key") }, "it ended with no key"},
		"return": {func(context.Context, io.Reader, io.Writer, io.Writer) error { return nil }, "it ended with status 0"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Start(bound(t, 20*time.Second), InProcess("broken", test.run), Options{})
			requireFault(t, err, "driver broken: stopped", test.says)
		})
	}
}

func TestADriverThatDoesNotReadIsNotWaitedForForEver(t *testing.T) {
	defer goleak.VerifyNone(t)
	deaf := InProcess("deaf", func(ctx context.Context, _ io.Reader, _, _ io.Writer) error { <-ctx.Done(); return nil })
	_, err := Start(bound(t, 20*time.Second), deaf, Options{HelloTimeout: 50 * time.Millisecond, Grace: time.Second})
	requireFault(t, err, "driver deaf: did not answer hello")
}

func TestTheHelloMustAgreeWithTheConfig(t *testing.T) {
	s := honest()
	target := s.target()
	target.pinned = &Config{Name: "other", Library: "example.org/other", Capabilities: []protocol.Capability{protocol.CapAccessKey, protocol.CapPool}}
	_, err := Start(bound(t, 20*time.Second), target, Options{})
	requireFault(t, err, `calls itself "stub"`, `"example.org/library" where client.yaml has "example.org/other"`,
		"declares resp2, pubsub, blocking, transactions, which client.yaml does not list", "does not declare pool, which client.yaml lists")
}

func TestStderrIsKeptBoundedAndRedacted(t *testing.T) {
	var seen int
	s := honest()
	target := InProcess("talker", func(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
		for n := range 3 * stderrKept {
			fmt.Fprintf(stderr, "line %d\n", n)
		}
		fmt.Fprintln(stderr, strings.Repeat("w", 5*stderrLineMax))
		fmt.Fprint(stderr, "token eyJhbGciOiJSUzI1NiJ9.eyJvaWQiOiIxIn0.c2ln at the end")
		return s.run(ctx, stdin, stdout, stderr)
	})
	d, err := Start(bound(t, 20*time.Second), target, Options{OnStderr: func(StderrLine) { seen++ }})
	require.NoError(t, err)
	require.NoError(t, d.Stop())
	lines := d.Stderr()
	require.Len(t, lines, stderrKept)
	assert.Equal(t, 3*stderrKept+2, seen)
	assert.Regexp(t, `^token jwt#[0-9a-f]{4} at the end$`, lines[stderrKept-1].Text)
	assert.Len(t, lines[stderrKept-2].Text, stderrLineMax+len("…"))
	assert.Equal(t, fmt.Sprintf("line %d", 3*stderrKept-1), lines[stderrKept-3].Text)
}
