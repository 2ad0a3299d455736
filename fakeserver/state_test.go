package fakeserver_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/fakeserver/internal/resp"
)

func TestDisablingAccessKeysCutsEverybody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	byKey, byToken, stranger := w.withKey(), w.signedIn(fakeserver.DataOwner), dial(t, w.Server)
	assert.Equal(t, "-NOAUTH Authentication required.", stranger.line("PING"))
	require.NoError(t, w.DisableAccessKeys())
	for _, c := range []*client{byKey, byToken, stranger} {
		c.closed()
	}
	w.event(func(e fakeserver.Event) bool {
		return e.Kind == fakeserver.EventConnectionClosed && e.Reason == fakeserver.ReasonAccessKeysChanged && e.User == oid
	})
	c := dial(t, w.Server)
	assert.Equal(t, wrongPass, c.line("AUTH", "key-one"))
	assert.Equal(t, fakeserver.ReasonAccessKeysDisabled, w.lastAuth().Reason)
	assert.Equal(t, "+OK", c.line("AUTH", oid, w.token(time.Hour)))

	require.NoError(t, w.DisableAccessKeys())
	assert.Equal(t, "+PONG", c.line("PING"), "no change, no cut")
	require.NoError(t, w.EnableAccessKeys())
	c.closed()
	assert.Equal(t, "+OK", dial(t, w.Server).line("AUTH", "key-one"))
	assert.Len(t, w.eventsOf(fakeserver.EventAccessKeysDisabled), 1)
	assert.Len(t, w.eventsOf(fakeserver.EventAccessKeysEnabled), 1)
}

func TestStartWithKeysDisabled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithAccessKeysDisabled())
	assert.Equal(t, wrongPass, dial(t, w.Server).line("AUTH", "key-one"))
}

func TestRegenerateKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.withKey()
	key, err := w.RegenerateKey(fakeserver.KeyPrimary)
	require.NoError(t, err)
	primary, secondary := w.AccessKeys()
	assert.Equal(t, key, primary)
	assert.Equal(t, "key-two", secondary)
	assert.Equal(t, "+PONG", old.line("PING"))
	c := dial(t, w.Server)
	assert.Equal(t, wrongPass, c.line("AUTH", "key-one"))
	assert.Equal(t, "+OK", c.line("AUTH", key))
	_, err = w.RegenerateKey("Third")
	assert.ErrorContains(t, err, `"Third"`)
}

func TestReboot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	require.Equal(t, "+OK", c.line("SET", "a", "b"))
	require.NoError(t, w.Reboot())
	c.closed()
	assert.Equal(t, fakeserver.ReasonRebooted, w.eventKind(fakeserver.EventConnectionClosed).Reason)
	assert.Equal(t, "$1\r\nb\r\n", w.withKey().do("GET", "a"))
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		policy          fakeserver.Policy
		allowed, denied [][]string
	}{
		{
			policy:  fakeserver.DataOwner,
			allowed: [][]string{{"SET", "a", "b"}, {"KEYS", "*"}, {"FLUSHALL"}, {"INFO"}, {"CLIENT", "ID"}},
		},
		{
			policy:  fakeserver.DataContributor,
			allowed: [][]string{{"SET", "a", "b"}, {"GET", "a"}, {"MULTI"}, {"DISCARD"}, {"EVAL", "return 1", "0"}, {"PUBLISH", "c", "m"}, {"SELECT", "1"}},
			denied: [][]string{{"KEYS", "*"}, {"FLUSHALL"}, {"INFO"}, {"CLIENT", "SETNAME", "x"}, {"CLIENT", "ID"}, {"CLUSTER", "KEYSLOT", "a"},
				{"SORT", "a"}, {"ROLE"}, {"MONITOR"}},
		},
		{
			policy:  fakeserver.DataReader,
			allowed: [][]string{{"GET", "a"}, {"KEYS", "*"}, {"CLIENT", "ID"}, {"CLIENT", "setname", "x"}, {"PING"}, {"DBSIZE"}},
			denied:  [][]string{{"SET", "a", "b"}, {"MULTI"}, {"SUBSCRIBE", "c"}, {"PUBLISH", "c", "m"}, {"CLIENT", "KILL", "x:1"}, {"SELECT", "1"}, {"INFO"}, {"EVAL", "return 1", "0"}},
		},
		{
			policy:  fakeserver.DataReaderLegacy,
			allowed: [][]string{{"GET", "a"}, {"CLIENT", "KILL", "ID", "99"}},
			denied:  [][]string{{"SET", "a", "b"}},
		},
		{
			policy:  fakeserver.Policy{Name: "App", Permissions: "+@read +set ~app:*"},
			allowed: [][]string{{"SET", "app:1", "b"}, {"GET", "app:1"}},
			denied:  [][]string{{"DEL", "app:1"}},
		},
	} {
		t.Run(tc.policy.Name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c := w.signedIn(tc.policy)
			for _, args := range tc.allowed {
				assert.NotContains(t, c.do(args...), "NOPERM", args)
			}
			for _, args := range tc.denied {
				seen := len(w.eventsOf(fakeserver.EventDenied))
				text := "-NOPERM this user has no permissions to run the '" + strings.ToLower(args[0]) + "' command or its subcommand"
				assert.Equal(t, text, c.line(args...), args)
				events := w.eventsOf(fakeserver.EventDenied)
				require.Len(t, events, seen+1)
				assert.Contains(t, events[seen].Detail, text)
				assert.Equal(t, oid, events[seen].User)
			}
		})
	}
}

func TestKeyPatternsAndCustomErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.signedIn(fakeserver.Policy{Name: "App", Permissions: "+@all ~app:*"})
	const noKey = "-NOPERM this user has no permissions to access one of the keys used as arguments"
	assert.Equal(t, noKey, c.line("GET", "other"))
	assert.Equal(t, noKey, c.line("MSET", "app:1", "x", "other", "y"))
	assert.Equal(t, "+OK", c.line("MSET", "app:1", "x"))
	err := w.Assign(oid, fakeserver.Policy{Name: "Bad", Permissions: "+@nonexistent ~*"})
	assert.ErrorContains(t, err, "Error in ACL SETUSER modifier '+@nonexistent': Unknown command or category name in ACL")
	assert.Equal(t, "+OK", c.line("SET", "app:1", "x"), "a refused policy changes nothing")
	assert.Error(t, w.Assign("", fakeserver.DataOwner))
	assert.Error(t, w.Assign("default", fakeserver.DataOwner))
}

func TestPolicyChangeAppliesToLiveConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.signedIn(fakeserver.DataOwner)
	require.Equal(t, "+OK", c.line("SET", "a", "b"))
	require.NoError(t, w.Assign(strings.ToUpper(oid), fakeserver.DataReader))
	assert.Contains(t, c.line("SET", "a", "b"), "NOPERM")
	assert.Equal(t, "$1\r\nb\r\n", c.do("GET", "a"))
	list := w.Assignments()
	require.Len(t, list, 1)
	assert.Equal(t, fakeserver.DataReader, list[0].Policy)
}

func TestUnassign(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, other := w.signedIn(fakeserver.DataOwner), w.withKey()
	require.NoError(t, w.Unassign(oid))
	c.closed()
	assert.Equal(t, "+PONG", other.line("PING"))
	assert.Equal(t, fakeserver.ReasonUnassigned, w.eventKind(fakeserver.EventConnectionClosed).Reason)
	assert.Equal(t, wrongPass, dial(t, w.Server).line("AUTH", oid, w.token(time.Hour)))
	assert.Error(t, w.Unassign(oid))

	kept := newWorld(t, fakeserver.WithConnectionsKeptOnUnassign())
	c = kept.signedIn(fakeserver.DataOwner)
	require.NoError(t, kept.Unassign(oid))
	assert.Contains(t, c.line("PING"), "NOPERM")
}

func TestBlockedCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	for _, args := range [][]string{
		{"ACL", "WHOAMI"}, {"BGREWRITEAOF"}, {"BGSAVE"}, {"CONFIG", "GET", "timeout"}, {"DEBUG", "SLEEP", "0"}, {"MIGRATE", "h", "1", "k", "0", "1"},
		{"PSYNC", "a", "b"}, {"REPLICAOF", "no", "one"}, {"SAVE"}, {"SHUTDOWN"}, {"SLAVEOF", "no", "one"}, {"SYNC"}, {"CLUSTER", "MEET", "h", "1"},
		{"cluster", "failover"}, {"config"},
	} {
		want := "-ERR unknown command `" + args[0] + "`, with args beginning with: "
		for _, a := range args[1:] {
			want += "`" + a + "`, "
		}
		assert.Equal(t, want, c.line(args...))
		blocked := w.eventsOf(fakeserver.EventBlocked)
		require.NotEmpty(t, blocked)
		assert.True(t, strings.HasPrefix(blocked[len(blocked)-1].Command, strings.ToLower(args[0])))
	}
	for _, args := range [][]string{{"CLUSTER", "INFO"}, {"CLUSTER", "SLOTS"}, {"CLUSTER", "NODES"}, {"READONLY"}} {
		assert.Equal(t, "-ERR This instance has cluster support disabled", c.line(args...))
	}
	// The args are cut as Redis cuts them; up to 6.2 the name is not.
	long := strings.Repeat("x", 300)
	assert.Equal(t, "-ERR unknown command `"+long+"`, with args beginning with: `"+long[:128]+"`, ", c.line(long, long, "y"))
}

func TestEveryCommandAnswers(t *testing.T) {
	t.Parallel()
	// Every command of the table, with too few, enough and silly arguments,
	// must answer something; none may bring the fake down.
	w := newWorld(t, fakeserver.WithPlainAddr("127.0.0.1:0"))
	table, _, err := resp.Parse([]byte(w.withKey().do("COMMAND")))
	require.NoError(t, err)
	require.Greater(t, len(table.Elems), 150)
	for _, entry := range table.Elems {
		name := string(entry.Elems[0].Text)
		switch name {
		case "subscribe", "psubscribe", "unsubscribe", "punsubscribe", "multi", "blpop", "brpop", "brpoplpush", "bzpopmin", "bzpopmax", "wait", "host:", "post", "monitor":
			continue // have tests of their own
		}
		for n := range 7 {
			c := dialPlain(t, w.Server)
			require.Equal(t, "+OK", c.line("AUTH", "key-one"))
			args := []string{name}
			for range n {
				args = append(args, "1")
			}
			c.send(array(args...) + array("ECHO", "marker"))
			_, err := c.next(patience)
			require.NoError(t, err, args)
			after, err := c.next(patience)
			require.NoError(t, err, args)
			require.Equal(t, "$6\r\nmarker\r\n", after, "%q must answer exactly once", args)
			_ = c.conn.Close()
		}
	}
	for _, e := range w.Events() {
		assert.NotEqual(t, fakeserver.ReasonPanic, e.Reason, e.Detail)
	}
}

func TestTLSFailures(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn, err := net.Dial("tcp", w.Addr())
	require.NoError(t, err)
	plain := newClient(t, conn)
	plain.send("PING\r\n")
	e := w.eventKind(fakeserver.EventTLSFailed)
	assert.NotEmpty(t, e.Detail)
	assert.Empty(t, w.eventsOf(fakeserver.EventConnectionOpened))
}

func TestStartErrorsNameTheCulprit(t *testing.T) {
	t.Parallel()
	taken := newWorld(t)
	for name, tc := range map[string]struct {
		opt  fakeserver.Option
		want string
	}{
		"port in use":  {fakeserver.WithAddr(taken.Addr()), taken.Addr()},
		"plain in use": {fakeserver.WithPlainAddr(taken.Addr()), taken.Addr()},
		"profile":      {fakeserver.WithProfile("redis-9"), `"redis-9"`},
		"issuer":       {fakeserver.WithIssuer("nonsense"), `"nonsense"`},
		"delay":        {fakeserver.WithExpiryDelay(-1), "WithExpiryDelay"},
		"keys":         {fakeserver.WithAccessKeys("", "x"), "WithAccessKeys"},
	} {
		_, err := fakeserver.Start(tc.opt)
		assert.ErrorContains(t, err, tc.want, name)
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithTimeout(t.Context(), briefly)
	defer cancel()
	_, err := w.Wait(ctx, func(fakeserver.Event) bool { return true })
	require.ErrorIs(t, err, context.DeadlineExceeded)
	found := make(chan fakeserver.Event)
	go func() {
		e, _ := w.Wait(context.Background(), func(e fakeserver.Event) bool { return e.Kind == fakeserver.EventRebooted })
		found <- e
	}()
	require.NoError(t, w.Reboot())
	assert.Equal(t, int64(1), (<-found).Seq)
	assert.Empty(t, w.EventsSince(1))
	assert.Len(t, w.EventsSince(0), 1)
	assert.Empty(t, w.EventsSince(100))
}

func TestCommandEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithCommandEvents(true))
	c := w.withKey()
	c.do("SET", "a", "b")
	c.do("CLIENT", "SETNAME", "n")
	c.do("LPUSH", "a", "x")
	var got []string
	for _, e := range w.eventsOf(fakeserver.EventCommand) {
		got = append(got, e.Command+" "+string(e.Outcome))
	}
	assert.Equal(t, []string{"auth ok", "set ok", "client|setname ok", "lpush refused"}, got)
	for _, e := range newWorld(t).Events() {
		assert.NotEqual(t, fakeserver.EventCommand, e.Kind)
	}
}

// TestCloseLeavesNothing closes servers with clients in every state.
func TestCloseLeavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	for range 20 {
		s, err := fakeserver.Start(fakeserver.WithAccessKeys("k", "l"), fakeserver.WithPlainAddr("127.0.0.1:0"))
		require.NoError(t, err)
		idle, blocked, subscribed, multi := dial(t, s), dial(t, s), dial(t, s), dial(t, s)
		raw, err := net.Dial("tcp", s.Addr()) // never begins the handshake
		require.NoError(t, err)
		for _, c := range []*client{blocked, subscribed, multi} {
			require.Equal(t, "+OK", c.line("AUTH", "k"))
		}
		blocked.send(array("BLPOP", "list", "0"))
		subscribed.do("SUBSCRIBE", "c")
		multi.do("MULTI")
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { assert.NoError(t, s.Close()) })
		}
		wg.Wait()
		for _, c := range []*client{idle, blocked, subscribed, multi} {
			c.closed()
			_ = c.conn.Close()
		}
		_ = raw.Close()
		assert.Empty(t, s.Connections())
	}
	goleak.VerifyNone(t, before)
}
