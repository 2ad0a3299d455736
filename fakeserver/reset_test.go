package fakeserver_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
)

func TestResetRestoresTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.signedIn(fakeserver.DataOwner)
	require.NoError(t, w.AddPolicy(fakeserver.Policy{Name: "custom", Permissions: "+@all allkeys"}))
	c.do("SET", "a", "b")
	sha := c.do("SCRIPT", "LOAD", "return 1")
	_, err := w.RegenerateKey(fakeserver.KeyPrimary)
	require.NoError(t, err)
	w.Fail(fakeserver.Fault{Action: fakeserver.FaultHang, Command: "ping"})
	c.do("CLIENT", "PAUSE", "100000", "WRITE")
	c.send(array("PING"))
	w.eventKind(fakeserver.EventFault)

	w.Reset()
	assert.Equal(t, fakeserver.ReasonReset, w.eventKind(fakeserver.EventConnectionClosed).Reason)
	w.eventKind(fakeserver.EventReset)
	assert.Empty(t, w.Faults())
	assert.Empty(t, w.Assignments())
	assert.Empty(t, w.Connections())
	assert.Equal(t, wrongPass, dial(t, w.Server).line("AUTH", oid, w.token(time.Hour)))
	c = w.withKey() // the key of the start
	assert.Equal(t, "$-1", c.line("GET", "a"))
	assert.Equal(t, "+OK", c.line("SET", "a", "b"), "the pause is over")
	assert.Equal(t, "+PONG", c.line("PING"))
	assert.Equal(t, "*1\r\n:0", c.line("SCRIPT", "EXISTS", sha[5:45]))
	assert.NoError(t, w.AddPolicy(fakeserver.Policy{Name: "custom", Permissions: "+@all allkeys"}))

	require.NoError(t, w.Assign(oid, fakeserver.DataOwner))
	require.NoError(t, w.DisableAccessKeys())
	w.Reset()
	w.withKey()
}

func TestResetOfOpenSourceRedis(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithProfile(fakeserver.ProfileOSS70))
	c := dial(t, w.Server)
	require.Equal(t, "+OK", c.line("ACL", "SETUSER", "jane", "on", ">secret", "+@all"))
	require.Equal(t, "+OK", c.line("CONFIG", "SET", "requirepass", "secret", "slowlog-max-len", "7", "acl-pubsub-default", "allchannels"))
	w.Reset()
	c.closed()
	c = dial(t, w.Server)
	assert.Equal(t, "*1\r\n$7\r\ndefault", c.line("ACL", "USERS"))
	assert.Equal(t, "*2\r\n$15\r\nslowlog-max-len\r\n$3\r\n128", c.line("CONFIG", "GET", "slowlog-max-len"))
	assert.Equal(t, "*2\r\n$18\r\nacl-pubsub-default\r\n$13\r\nresetchannels", c.line("CONFIG", "GET", "acl-pubsub-default"))
}
