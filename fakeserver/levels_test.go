package fakeserver_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
)

// levelScript goes on after aclScript, at every level. It is about what differs
// between them: error texts, the order of the checks, and what a user without
// permissions, or nobody, may do.
const levelScript = `
m ACL SETUSER mary on >pw ~app:* +@string +@transaction +@connection +@scripting +sort +subscribe +publish +psubscribe +unsubscribe +punsubscribe -@dangerous
n AUTH mary bad
n AUTH mary pw
n FLUSHALL
n flushAll
n FLUSHALL a b c d
n CONFIG GET x
n config get x
n CONFIG
n CONFIG GET
n GET other
n MSET app:1 a other b
n KEYS *
n FOOBAR a b
n FOOBAR
n CLIENT FOO
n CLIENT FOO x
n ACL FOO
n OBJECT FOO x
n OBJECT ENCODING other
n GET
n SET app:1
n MULTI
n FLUSHALL
n EXEC
n MULTI
n GET app:1
n NOPE
n EXEC
n EXEC
n EXEC x
n DISCARD
n MULTI
n MULTI
n WATCH app:1
n AUTH mary bad
n HELLO 2
n EXEC x
n GET app:1
n EVAL return(redis.call('get','other')) 0
n EVAL return(redis.call('flushall')) 0
n EVAL return(redis.pcall('get','other')) 0
n EVAL return(redis.call('nope')) 0
n EVAL return(redis.call('get')) 0
n EVAL return(1) 1 other
n EVAL return(1) x
n EVAL return(1) 1
n EVALSHA x 0
n SORT app:l BY x
n SUBSCRIBE x
n PING
n GET app:1
n AUTH mary pw
n MULTI
n NOPE
n GET
n UNSUBSCRIBE x
n PSUBSCRIBE x*
n PUNSUBSCRIBE x*
n PUBLISH x m
n AUTH mary bad
n GET app:1
m ACL SETUSER reader on nopass ~app:* +@read +@connection
o AUTH reader x
o SET app:1 x
o GET app:1
o EXISTS other
o EVAL return(1) 0
o EVAL
o DBSIZE
o KEYS *
o INFO
o SELECT 1
o SELECT x
o SELECT 99
o WAIT 0 0
o ROLE
o CLIENT KILL ID 99999
o CLIENT GETNAME
o COMMAND COUNT
o SUBSCRIBE x
o MULTI
p HELLO 4
p HELLO x
p HELLO +3
p HELLO 3 FOO
p HELLO 3 AUTH x
p HELLO 3 AUTH nobody x
p HELLO 3 SETNAME n AUTH nobody x
p CLIENT GETNAME
p HELLO 3 AUTH reader x SETNAME n
p CLIENT GETNAME
p GET app:1
p HELLO 2
m CONFIG SET requirepass secret
q PING
q FOO x
q GET
q CLIENT
q CLIENT FOO
q HELLO
q HELLO 3
q HELLO 3 SETNAME n
q RESET
q RESET x
q AUTH
q AUTH bad
q AUTH default bad
q AUTH a b c
q SUBSCRIBE x
q MULTI
q EXEC
q EXEC x
q DISCARD
q COMMAND
q QUIT x
q!
r HELLO 3 AUTH default secret FOO
r PING
r HELLO 3 AUTH default bad
r HELLO 3 AUTH default secret AUTH default bad
r AUTH secret
r HELLO 3
r SUBSCRIBE c
r GET app:1
r AUTH default bad
r AUTH default secret
r*2 PUBLISH c m
r UNSUBSCRIBE c
r MULTI
r HELLO 2
r GET app:1
r EXEC
r GET app:1
m ACL SETUSER bob on >pw +@all ~*
s AUTH bob pw
s ACL DELUSER bob
s!
s2 AUTH bob pw
m ACL SETUSER offu off >pw +@all ~*
s2 AUTH offu pw
m ACL SETUSER offu on
s2 AUTH offu pw
m ACL SETUSER offu off resetpass
s2 GET app:1
m ACL DELUSER offu
s2!
m ACL SETUSER chan on nopass resetchannels &news.* +@all
m ACL SETUSER chan on nopass allchannels +@all
m ACL SETUSER %R~a
m ACL SETUSER u %R~a
m ACL SETUSER u (+get)
m ACL SETUSER u &a
m ACL SETUSER u -config|get
m ACL SETUSER u +config|get
m ACL SETUSER u sanitize-payload
m ACL GETUSER u
m ACL DRYRUN u GET a
m ACL CAT foo
m ACL HELP x
m ACL
m ACL NOPE
m MEMORY NOPE
m CLIENT NOPE
m CLIENT KILL x
m CLIENT KILL ID x
m CLIENT KILL NOPE x
m CLIENT KILL USER nobody
m CLIENT LIST TYPE x
m CLIENT UNBLOCK x
m CLIENT NO-EVICT x
m CLIENT NO-TOUCH x
m CLIENT SETINFO x y
m CLIENT TRACKING x
m CLIENT TRACKINGINFO
m CLIENT CACHING yes
m CLIENT GETREDIR
m CLIENT REPLY x
m CLIENT PAUSE x
m CLIENT INFO x
m SCRIPT NOPE
m SCRIPT EXISTS
m SCRIPT FLUSH x
m PUBSUB NOPE
m PUBSUB SHARDCHANNELS
m PUBSUB NUMPAT
m SLOWLOG NOPE
m LATENCY NOPE
m CLUSTER INFO
m CLUSTER NOPE
m READONLY
m SWAPDB 0 99
m SWAPDB x y
m SET app:x v EX 0
m SETEX app:x 0 v
m SET app:x v NX GET
m SET app:x v KEEPTTL
m GETDEL app:x
m SWAPDB 0
m COPY app:x app:y
m SSUBSCRIBE
m SPUBLISH a b
m EVAL_RO return(1) 0
m FCALL x 0
m LMPOP 1 app:l LEFT
m COMMAND NOPE
m COMMAND GETKEYS GET
m COMMAND GETKEYS NOPE
m COMMAND GETKEYS SET a b
m! POST
`

// recordVariable is VERSION=HOST:PORT of a real server, just started and without
// a password, whose answers the test is to record first.
const recordVariable = "ENTRACACHE_RECORD_LEVEL"

// TestLevelsAgainstRecordings holds every level's texts against what a server of
// that level answered.
func TestLevelsAgainstRecordings(t *testing.T) {
	t.Parallel()
	script := aclScript + levelScript
	for version, profile := range map[string]fakeserver.Profile{
		"6.0.20": fakeserver.ProfileOSS60, "6.2.16": fakeserver.ProfileTest62, "7.0.15": fakeserver.ProfileOSS70, "7.4.1": fakeserver.ProfileTest74,
	} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			file := "testdata/levels_" + version + ".json"
			var recorded struct {
				Replies []string `json:"replies"`
			}
			if addr := os.Getenv(recordVariable); addr != "" && strings.HasPrefix(addr, version+"=") {
				recorded.Replies = play(t, dialing(t, "tcp", strings.TrimPrefix(addr, version+"=")), script)
				data, err := json.MarshalIndent(recorded, "", " ")
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(file, append(data, '\n'), 0o644)) // it goes into the repository
			}
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			require.NoError(t, json.Unmarshal(data, &recorded))
			ours := play(t, dialing(t, "tcp", open(t, profile).PlainAddr()), script)
			require.Len(t, ours, len(recorded.Replies))
			for i := range ours {
				assert.Equal(t, ordered(recorded.Replies[i]), ordered(ours[i]))
			}
		})
	}
}
