package fakeserver_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
)

func TestPubSubRESP2(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sub, pub := w.withKey(), w.withKey()
	sub.send(array("SUBSCRIBE", "a", "b") + array("PSUBSCRIBE", "n*"))
	assert.Equal(t, "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", sub.read())
	assert.Equal(t, "*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n", sub.read())
	assert.Equal(t, "*3\r\n$10\r\npsubscribe\r\n$2\r\nn*\r\n:3\r\n", sub.read())
	assert.Equal(t, ":1", pub.line("PUBLISH", "a", "x"))
	assert.Equal(t, ":1", pub.line("PUBLISH", "news", "y"))
	assert.Equal(t, ":0", pub.line("PUBLISH", "other", "z"))
	assert.Equal(t, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n", sub.read())
	assert.Equal(t, "*4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$1\r\ny\r\n", sub.read())

	for _, name := range []string{"get", "auth", "multi", "client", "hello", "publish"} {
		args := []string{name, "x"}
		switch name {
		case "multi":
			args = args[:1]
		case "publish":
			args = append(args, "y")
		}
		assert.Equal(t, "-ERR Can't execute '"+name+"': only (P)SUBSCRIBE / (P)UNSUBSCRIBE / PING / QUIT are allowed in this context", sub.line(args...))
	}
	assert.Equal(t, "*2\r\n$4\r\npong\r\n$0\r\n\r\n", sub.do("PING"))
	assert.Equal(t, "*2\r\n$4\r\npong\r\n$2\r\nhi\r\n", sub.do("PING", "hi"))

	assert.Equal(t, "*2\r\n$1\r\na\r\n$1\r\nb\r\n", pub.do("PUBSUB", "CHANNELS"))
	assert.Equal(t, "*4\r\n$1\r\na\r\n:1\r\n$1\r\nq\r\n:0\r\n", pub.do("PUBSUB", "NUMSUB", "a", "q"))
	assert.Equal(t, ":1", pub.line("PUBSUB", "NUMPAT"))
	assert.Len(t, w.eventsOf(fakeserver.EventSubscribed), 3)
	assert.True(t, w.Connections()[0].Subscribed)

	sub.send(array("UNSUBSCRIBE"))
	assert.Equal(t, "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:2\r\n", sub.read())
	assert.Equal(t, "*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n", sub.read())
	assert.Equal(t, "*3\r\n$12\r\npunsubscribe\r\n$2\r\nn*\r\n:0\r\n", sub.do("PUNSUBSCRIBE", "n*"))
	assert.Equal(t, "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n", sub.do("UNSUBSCRIBE"))
	assert.Equal(t, "+PONG", sub.line("PING"))
	assert.Equal(t, ":0", pub.line("PUBLISH", "a", "x"))
}

func TestPubSubRESP3(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.Assign(oid, fakeserver.DataContributor))
	sub := dial(t, w.Server)
	sub.do("HELLO", "3", "AUTH", oid, w.token(time.Hour))
	assert.Equal(t, ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n", sub.do("SUBSCRIBE", "c"))
	assert.Equal(t, "_", sub.line("GET", "nothing"))
	// A subscription survives the token: it can sign in again.
	w.clock.Advance(50 * time.Minute)
	assert.Equal(t, "+OK", sub.line("AUTH", oid, w.token(time.Hour)))
	w.clock.Advance(50 * time.Minute)
	pub := w.withKey()
	assert.Equal(t, ":1", pub.line("PUBLISH", "c", "later"))
	assert.Equal(t, ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nlater\r\n", sub.read())
	// To itself: the message first, then the reply.
	sub.send(array("PING") + array("PUBLISH", "c", "self") + array("PING", "x"))
	assert.Equal(t, "+PONG\r\n", sub.read())
	assert.Equal(t, ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$4\r\nself\r\n", sub.read())
	assert.Equal(t, ":1\r\n", sub.read())
	assert.Equal(t, "$1\r\nx\r\n", sub.read())
	// Inside a transaction the message must not become an element.
	sub.send(array("MULTI") + array("PUBLISH", "c", "tx") + array("PING") + array("EXEC"))
	for _, want := range []string{"+OK\r\n", "+QUEUED\r\n", "+QUEUED\r\n", "*2\r\n:1\r\n+PONG\r\n", ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\ntx\r\n"} {
		assert.Equal(t, want, sub.read())
	}
}

// TestMessagesAndRepliesNeverMix has a subscriber run commands with long
// replies while others publish.
func TestMessagesAndRepliesNeverMix(t *testing.T) {
	t.Parallel()
	const publishers, messages = 4, 300
	w := newWorld(t)
	sub := w.withKey()
	sub.do("HELLO", "3")
	sub.do("SUBSCRIBE", "c")
	long := strings.Repeat("v", 9000)
	require.Equal(t, "+OK", sub.line("SET", "long", long))
	var wg sync.WaitGroup
	for p := range publishers {
		c := w.withKey()
		wg.Go(func() {
			for i := range messages {
				c.send(array("PUBLISH", "c", fmt.Sprintf("%d-%d", p, i)))
			}
			for range messages {
				assert.Equal(t, ":1\r\n", c.read())
			}
		})
	}
	wg.Go(func() {
		for range messages {
			if _, err := sub.conn.Write([]byte(array("GET", "long"))); err != nil {
				t.Error(err)
			}
		}
	})
	next := map[string]int{}
	replies := 0
	for range publishers*messages + messages {
		got := sub.read()
		if strings.HasPrefix(got, "$9000\r\n") {
			replies++
			continue
		}
		require.True(t, strings.HasPrefix(got, ">3\r\n$7\r\nmessage\r\n"), "%.60q", got)
		lines := strings.Split(got, "\r\n")
		p, i, _ := strings.Cut(lines[6], "-")
		assert.Equal(t, fmt.Sprint(next[p]), i, "messages of one publisher must keep their order")
		next[p]++
	}
	wg.Wait()
	assert.Equal(t, messages, replies)
}

func TestSlowSubscriberIsCutAndHoldsUpNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithPubSubBufferLimit(1<<20))
	slow, pub := w.withKey(), w.withKey()
	slow.do("SUBSCRIBE", "c")
	chunk := strings.Repeat("m", 1<<17)
	cut := false
	for i := 0; i < 1000 && !cut; i++ {
		cut = pub.line("PUBLISH", "c", chunk) == ":0"
	}
	require.True(t, cut, "125 MiB unread, and still subscribed")
	w.event(func(e fakeserver.Event) bool {
		return e.Kind == fakeserver.EventConnectionClosed && e.Reason == fakeserver.ReasonSlowSubscriber
	})
}

func TestASubscriberThatDoesNotReadIsCutLikeOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithPlainAddr("127.0.0.1:0"))
	require.NoError(t, w.Assign(oid, fakeserver.DataOwner))
	plain := dialPlain(t, w.Server)
	require.Equal(t, "+OK", plain.line("AUTH", "key-one"))
	plain.do("SUBSCRIBE", "c")
	w.withKey().do("SUBSCRIBE", "c")
	publisher, payload := w.withKey(), strings.Repeat("x", 1<<20)
	for range 12 { // more than the sockets take, less than the limit
		publisher.do("PUBLISH", "c", payload)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		assert.NoError(t, w.DisableAccessKeys())
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("it waits for a client that does not read")
	}
	publisher.closed()
}
