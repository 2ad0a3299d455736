package fakeserver

import (
	"bytes"
	"strings"
	"time"

	"github.com/entracache/entracache/fakeserver/internal/command"
	"github.com/entracache/entracache/fakeserver/internal/keyspace"
)

// What happens in the keyspace is told to two: to the tracker, and to those who
// asked for keyspace notifications. All of this runs with the keyspace locked.

// expireEvery is how often keys whose time has come are removed although no
// command looks at the keyspace, while somebody wants to be told: the pace of
// Redis' own cycle (hz 10).
const expireEvery = 100 * time.Millisecond

// wrote is told of every write command that did not fail.
func (s *Server) wrote(tx *keyspace.Tx, w keyspace.Write) {
	notify := s.notify.on()
	if s.tracker.clients.Load() == 0 && !notify {
		return
	}
	switch w.Command.Name {
	case "flushall", "flushdb":
		s.tracker.flushed(w.Session.DB())
		return
	}
	if _, migrating := w.Session.Owner.(migration); migrating {
		s.tracker.changed(nil, []string{string(w.Args[1])})
		return
	}
	if unchanged(w) {
		return
	}
	keys := writtenKeys(w.Command, w.Args)
	by, _ := w.Session.Owner.(*connection)
	s.tracker.changed(by, keys)
	if notify {
		s.notifyWrite(tx, w, keys)
	}
}

// expiredKey is told of every key that expired.
func (s *Server) expiredKey(db int, key string) {
	s.tracker.changed(nil, []string{key})
	s.notify.event(s, 'x', "expired", db, key)
}

// expireInTime sees to it that keys expire although nobody looks at them.
func (s *Server) expireInTime() {
	s.expireOnce.Do(func() {
		ticker := s.opts.clock.NewTicker(expireEvery)
		s.wg.Go(func() {
			defer ticker.Stop()
			for {
				select {
				case <-ticker.Chan():
					s.expireKeys()
				case <-s.ctx.Done():
					return
				}
			}
		})
	})
}

func (s *Server) expireKeys() {
	defer s.contain(nil)
	s.keyspace.Expire()
}

// zeroMeansUnchanged are the writing commands whose reply 0 says that nothing
// was written. For others a 0 may be a value, as for INCR.
var zeroMeansUnchanged = map[string]bool{
	"del": true, "unlink": true, "expire": true, "pexpire": true, "expireat": true, "pexpireat": true, "persist": true, "setnx": true, "msetnx": true,
	"renamenx": true, "move": true, "copy": true, "hdel": true, "hsetnx": true, "srem": true, "sadd": true, "smove": true, "zrem": true, "lrem": true,
	"lpushx": true, "rpushx": true, "linsert": true, "pfadd": true, "zremrangebyscore": true, "zremrangebyrank": true, "zremrangebylex": true,
	"xdel": true, "xtrim": true, "xack": true,
}

// unchanged says of a writing command's reply that nothing was written.
func unchanged(w keyspace.Write) bool {
	null := isNull(w.Reply)
	switch w.Command.Name {
	case "getset":
		return false
	case "hexpire", "hpexpire", "hexpireat", "hpexpireat", "hpersist":
		return !bytes.Contains(w.Reply, []byte(":1\r\n")) && !bytes.Contains(w.Reply, []byte(":2\r\n"))
	case "getex":
		return null || len(w.Args) == 2
	case "set":
		// With GET the reply is the old value, null if there was none.
		for _, a := range w.Args[min(3, len(w.Args)):] {
			if equalFold(a, "get") {
				return false
			}
		}
		return null
	}
	if w.Command.Name == "linsert" && bytes.Equal(w.Reply, []byte(":-1\r\n")) {
		return true
	}
	return null || bytes.HasPrefix(w.Reply, []byte("*0")) ||
		zeroMeansUnchanged[w.Command.Name] && bytes.Equal(w.Reply, []byte(":0\r\n"))
}

// writtenKeys are those of a writing command's keys that it may change, not
// those that it only reads.
func writtenKeys(cmd *command.Command, args [][]byte) []string {
	name := cmd.Name
	switch {
	case name == "bitop" || name == "copy":
		return []string{string(args[2])}
	case name == "georadius" || name == "georadiusbymember" || name == "sort":
		keys := cmd.Keys(args)
		if len(keys) < 2 {
			return nil
		}
		return []string{string(keys[len(keys)-1])}
	case strings.HasSuffix(name, "store") || name == "pfmerge":
		return []string{string(args[1])}
	}
	keys := cmd.Keys(args)
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = string(k)
	}
	return list
}
