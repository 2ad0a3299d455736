package fakeserver

import (
	"sync"

	"github.com/tidwall/redcon"

	"github.com/entracache/entracache/fakeserver/internal/command"
)

// What a connection keeps between the commands that came together, so that a
// quick command costs little, and gives back after the last of them, so that an
// idle connection costs little.

const (
	// keepReply bounds the buffer for a reply that goes back to the pool.
	keepReply = 16 << 10
	// keepUnsent is from how many bytes on replies are sent although more
	// commands are there. redcon keeps the largest buffer that it ever needed,
	// up to 256 KiB, so it must not need a large one.
	keepUnsent = 16 << 10
)

var requests = sync.Pool{New: func() any { return new(request) }}

// tick sees to it that c.moment is the time. Reading a clock costs as much as a
// GET, so it is read once for quick commands that came together.
func (c *connection) tick() {
	if c.moment == 0 {
		c.moment = c.s.opts.clock.Now().UnixNano()
	}
}

// begin returns the request for a command.
func (c *connection) begin(args [][]byte) *request {
	if c.request == nil {
		c.request = requests.Get().(*request)
	}
	*c.request = request{s: c.s, c: c, args: args, out: c.request.out[:0]}
	return c.request
}

// ran ends what tick and begin began: more says that the next command is there
// already, cmd is the one that ran, nil if it was none.
func (c *connection) ran(cmd *command.Command, more bool) {
	if more {
		if cmd == nil || !c.s.traits[cmd.ID].quick {
			c.moment = 0
		}
		return
	}
	c.moment, c.unsent = 0, 0
	q := c.request
	c.request = nil
	if cap(q.out) > keepReply {
		q.out = nil
	}
	*q = request{out: q.out[:0]}
	requests.Put(q)
}

// reply leaves a reply to redcon, which sends it with those of the other
// commands that came together, unless it would have to keep too much.
func (c *connection) reply(b []byte) {
	c.unsent += len(b)
	if c.unsent <= keepUnsent {
		c.rc.WriteRaw(b)
		return
	}
	// A failed write shows again at the next one, after which redcon closes.
	_ = redcon.BaseWriter(c.rc).Flush()
	_, _ = c.guard.Write(b)
	c.unsent = 0
}
