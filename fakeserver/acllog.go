package fakeserver

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/entracache/entracache/fakeserver/internal/acl"
	"github.com/entracache/entracache/fakeserver/internal/command"
)

// aclLog is what ACL LOG shows, the newest first: denied commands, keys,
// channels and sign-ins. It is kept in the profiles of open-source Redis; the
// event log tells more, in all of them.
type aclLog struct {
	mu      sync.Mutex
	entries []aclLogEntry
	most    int
	lastID  int64
}

// What the engine does: entries that are alike are counted together if they
// are among the ten newest and not more than a minute apart.
const (
	aclLogMost     = 128 // acllog-max-len
	aclLogAlike    = 10
	aclLogTogether = time.Minute
)

// aclLogEntry is one denial, or several that are alike.
type aclLogEntry struct {
	reason, context, object, username string

	id               int64
	count            int64
	created, updated time.Time
	client           string
}

func newACLLog() *aclLog { return &aclLog{most: aclLogMost} }

func (l *aclLog) add(e aclLogEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.entries[:min(len(l.entries), aclLogAlike)] {
		old := l.entries[i]
		if old.reason == e.reason && old.context == e.context && old.object == e.object && old.username == e.username &&
			e.updated.Sub(old.updated) <= aclLogTogether {
			old.count, old.updated, old.client = old.count+1, e.updated, e.client
			l.entries = slices.Insert(slices.Delete(l.entries, i, i+1), 0, old)
			return
		}
	}
	e.id, e.count, e.created = l.lastID, 1, e.updated
	l.lastID++
	l.entries = slices.Insert(l.entries, 0, e)
	l.entries = l.entries[:min(len(l.entries), l.most)]
}

func (l *aclLog) newest(count int64) []aclLogEntry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.entries[:min(int64(len(l.entries)), max(count, 0))])
}

func (l *aclLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = nil
}

// limit sets how many entries are kept; what is too many goes with the next
// entry.
func (l *aclLog) limit(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.most = n
}

// Where a command was denied.
const (
	deniedAtTopLevel = "toplevel"
	deniedInMulti    = "multi"
	deniedInLua      = "lua"
)

// deniedInCommand is the context of a command that a client sent.
func deniedInCommand(c *connection) string {
	if c.multi != nil {
		return deniedInMulti
	}
	return deniedAtTopLevel
}

// noteDenied puts a command that the set forbids into ACL LOG.
func (q *request) noteDenied(set *acl.Set, cmd *command.Command, args [][]byte, context string) {
	if !q.s.prof.openUsers {
		return
	}
	e := aclLogEntry{reason: "command", object: cmd.Name}
	switch verdict, at := set.Explain(cmd, args); verdict {
	case acl.DeniedKey:
		e.reason, e.object = "key", string(args[at])
	case acl.DeniedChannel:
		e.reason, e.object = "channel", string(args[at])
	}
	q.note(e, q.c.user(), context)
}

// noteRefused puts a refused sign-in into ACL LOG; the object is the command as
// it was typed.
func (q *request) noteRefused(user string) {
	if q.s.prof.openUsers {
		context := deniedAtTopLevel
		if q.tx != nil {
			context = deniedInMulti
		}
		q.note(aclLogEntry{reason: "auth", object: string(q.args[0])}, user, context)
	}
}

func (q *request) note(e aclLogEntry, user, context string) {
	e.username, e.context = user, context
	e.updated = q.s.opts.clock.Now()
	e.client = strings.TrimSuffix(q.c.line(), "\n")
	q.s.aclLog.add(e)
}
