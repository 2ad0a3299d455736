package fakeserver_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
)

func TestEventLimitLeavesAGap(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithEventLimit(8), fakeserver.WithCommandEvents(true))
	c := w.withKey()
	var all []fakeserver.Event
	for range 100 {
		require.Equal(t, "+PONG", c.line("PING"))
		all = append(all, w.EventsSince(int64(len(all)))...) // in time, so that none is missed
	}
	for i, e := range all {
		require.Equal(t, int64(i+1), e.Seq)
		require.NotEqual(t, fakeserver.EventGap, e.Kind)
	}
	kept := w.Events()
	require.LessOrEqual(t, len(kept), 8)
	gap := kept[0]
	assert.Equal(t, fakeserver.EventGap, gap.Kind)
	assert.Contains(t, gap.Detail, fmt.Sprintf("up to %d ", gap.Seq))
	assert.Equal(t, all[gap.Seq:], kept[1:], "what is kept is whole, and as it was")
	assert.Equal(t, kept[3:], w.EventsSince(kept[2].Seq))
	assert.Equal(t, kept, w.EventsSince(gap.Seq-1))

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for e := range w.Follow(ctx, 2) {
		assert.Equal(t, gap, e, "who comes too late is told so")
		break
	}
	_, err := w.WaitSignedOut(ctx, "default")
	assert.ErrorIs(t, err, fakeserver.ErrGap)
	_, err = w.WaitRenewed(ctx, oid, 1)
	assert.ErrorIs(t, err, fakeserver.ErrGap)
	for _, bad := range []int{-1, 1, 3} {
		_, err := fakeserver.Start(fakeserver.WithEventLimit(bad))
		assert.ErrorContains(t, err, "WithEventLimit")
	}
}

// TestManyEvents: whatever piece of the log they are in, they are found, and with a
// limit what is kept has no hole.
func TestManyEvents(t *testing.T) {
	t.Parallel()
	const pings = 5000
	for _, limit := range []int{0, 2000} {
		w := newWorld(t, fakeserver.WithEventLimit(limit), fakeserver.WithCommandEvents(true))
		c := w.withKey()
		c.send(strings.Repeat(array("PING"), pings))
		for range pings {
			require.Equal(t, "+PONG\r\n", c.read())
		}
		require.Equal(t, "+PONG", c.line("PING"))
		all := w.Events()
		first, last := all[0].Seq, all[len(all)-1].Seq
		assert.Greater(t, last, int64(pings))
		if limit > 0 {
			assert.Equal(t, fakeserver.EventGap, all[0].Kind)
			assert.LessOrEqual(t, len(all), limit)
		} else {
			assert.EqualValues(t, 1, first)
		}
		for i, e := range all {
			require.Equal(t, first+int64(i), e.Seq)
			if i%61 != 0 && i < len(all)-5 { // a look at every one would take a while
				continue
			}
			since := w.EventsSince(e.Seq)
			require.Len(t, since, len(all)-i-1)
			if len(since) > 0 {
				require.Equal(t, all[i+1], since[0])
				require.Equal(t, all[len(all)-1], since[len(since)-1])
			}
		}
	}
}

// TestFollow: several who follow see the same, each event once and in order, up
// to the last one before Close.
func TestFollow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	seen := make([][]fakeserver.Event, 4)
	var following sync.WaitGroup
	for i := range seen {
		following.Go(func() {
			for e := range w.Follow(context.Background(), 0) {
				seen[i] = append(seen[i], e)
			}
		})
	}
	var clients sync.WaitGroup
	for range 8 {
		c := dial(t, w.Server)
		clients.Go(func() {
			for range 25 {
				_, _ = c.conn.Write([]byte(array("AUTH", "key-one")))
				_, _ = c.next(patience)
			}
		})
	}
	clients.Wait()
	require.NoError(t, w.Close())
	following.Wait()
	all := w.Events()
	assert.GreaterOrEqual(t, len(all), 8*25+8+8)
	for i, e := range all {
		require.Equal(t, int64(i+1), e.Seq)
		require.True(t, i == 0 || !e.Time.Before(all[i-1].Time))
	}
	for i := range seen {
		assert.Equal(t, all, seen[i])
	}

	_, err := w.Wait(t.Context(), func(fakeserver.Event) bool { return false })
	assert.ErrorIs(t, err, fakeserver.ErrClosed, "nobody waits for what cannot come")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = w.Wait(ctx, func(fakeserver.Event) bool { return true })
	assert.ErrorIs(t, err, context.Canceled)
}

func TestWaitSignedOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.signedIn(fakeserver.DataOwner), w.signedIn(fakeserver.DataOwner)
	ctx, cancel := context.WithTimeout(t.Context(), briefly)
	defer cancel()
	require.NoError(t, a.conn.Close())
	w.eventKind(fakeserver.EventConnectionClosed)
	_, err := w.WaitSignedOut(ctx, oid)
	assert.ErrorContains(t, err, "it is signed in on 1 connections")
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, "+OK", b.line("AUTH", "key-one"))
	e, err := w.WaitSignedOut(t.Context(), oid)
	require.NoError(t, err)
	assert.Equal(t, fakeserver.EventAuth, e.Kind, "it is another's connection now")

	w.signedIn(fakeserver.DataOwner)
	again, err := w.WaitSignedOut(t.Context(), oid)
	require.NoError(t, err)
	assert.Equal(t, e, again, "it tells of the first time")
}

func TestWaitRenewed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.signedIn(fakeserver.DataOwner)
	other := w.signedIn(fakeserver.DataOwner)
	same := w.token(time.Hour)
	require.Equal(t, "+OK", c.line("AUTH", oid, same))
	require.Equal(t, wrongPass, c.line("AUTH", oid, w.token(-time.Hour)))
	ctx, cancel := context.WithTimeout(t.Context(), briefly)
	defer cancel()
	_, err := w.WaitRenewed(ctx, oid, 1)
	assert.ErrorContains(t, err, "there were 0", "neither a token as old nor a refused one counts")
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	got := make(chan []fakeserver.Event)
	go func() {
		events, err := w.WaitRenewed(t.Context(), oid, 2)
		assert.NoError(t, err)
		got <- events
	}()
	require.Equal(t, "+OK", c.line("AUTH", oid, w.token(2*time.Hour)))
	require.NotEmpty(t, other.do("HELLO", "3", "AUTH", oid, w.token(2*time.Hour)))
	events := <-got
	require.Len(t, events, 2)
	assert.Equal(t, []int64{1, 2}, []int64{events[0].Conn, events[1].Conn})
	assert.Equal(t, time.Hour, events[0].Lead)
}

// TestEventsHoldNoSecrets sends tokens and keys wherever a client could put them
// by mistake.
func TestEventsHoldNoSecrets(t *testing.T) {
	t.Parallel()
	const key, second = "Kq9xPrimaryAccessKeyOfTheCacheAzCaABCDEF0123=", "Zz8SecondaryAccessKeyOfTheCacheAzCaABCDEF0123="
	w := newWorld(t, fakeserver.WithCommandEvents(true), fakeserver.WithAccessKeys(key, second))
	require.NoError(t, w.Assign(oid, fakeserver.DataOwner))
	good, expired := w.token(time.Hour), w.token(-time.Hour)
	renewed, err := w.RegenerateKey(fakeserver.KeySecondary)
	require.NoError(t, err)
	w.Fail(fakeserver.Fault{Action: fakeserver.FaultError, Error: "ERR no " + key, Command: "get"})
	secrets := []string{key, second, renewed, good, expired}
	for _, secret := range secrets {
		for _, auth := range [][]string{{"AUTH", oid, good}, {"AUTH", key}} {
			c := dial(t, w.Server)
			for _, args := range [][]string{
				{"AUTH", secret}, {"AUTH", secret, oid}, {"AUTH", "default", secret}, {"AUTH", oid, secret}, {"AUTH", secret, secret},
				{"HELLO", secret}, {"HELLO", "3", secret}, {"HELLO", "3", "AUTH", oid}, {"HELLO", "3", "AUTH", secret, secret},
				{"HELLO", "3", "AUTH", "default", secret, secret}, {"HELLO", "3", "SETNAME", secret}, {secret}, {secret, secret},
				{"CLIENT", secret}, {"CLIENT", "SETNAME", secret}, {"SUBSCRIBE", secret}, {"UNSUBSCRIBE"}, {"GET", secret},
				{"CONFIG", "SET", "requirepass", secret}, {"ACL", "SETUSER", "x", ">" + secret}, {"CLIENT", "KILL", secret}, auth,
			} {
				c.do(args...)
				for len(c.buf) > 0 { // a message, say
					c.read()
				}
			}
			c.send(secret + "\r\n")
			c.read()
			c.send("*1\r\n$" + secret + "\r\n")
			_, _ = c.next(patience)
		}
	}
	require.NoError(t, w.Assign(good, fakeserver.DataOwner))
	_ = w.DisableAccessKeys()
	require.NoError(t, w.Close())
	shown := 0
	for _, e := range w.Events() {
		text := fmt.Sprintf("%+v %+v", e, e.Token)
		shown += strings.Count(text, "(redacted)")
		for _, secret := range secrets {
			assert.NotContains(t, strings.ToLower(text), strings.ToLower(secret[:20]), "%s", e.Kind)
		}
		// Nor the part of a token that makes it one.
		assert.NotContains(t, text, good[strings.LastIndexByte(good, '.')+1:][:16])
	}
	assert.Greater(t, shown, 50, "the mistakes are shown, without the secrets")
}
