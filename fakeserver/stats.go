package fakeserver

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/entracache/entracache/fakeserver/internal/command"
)

// stats are what INFO counts. Each connection counts its own commands, so that
// counting costs nothing where it matters; what closed ones counted is here.
type stats struct {
	commands atomic.Int64 // of connections that are closed, less what was reset
	rejected atomic.Int64 // connections beyond maxclients
	// byCommand is by command ID.
	byCommand []commandStats
}

// commandStats is a line of INFO commandstats.
type commandStats struct {
	calls    atomic.Int64 // that ran, the failed ones included
	failed   atomic.Int64 // ran and answered with an error
	rejected atomic.Int64 // refused before they ran
	// took is the time, in nanoseconds, of those that are timed for SLOWLOG: of a
	// quick command it is not taken, which would cost as much as the command.
	took atomic.Int64
	_    [32]byte // what other processors count is in another cache line
}

func (s *stats) reset() {
	for i := range s.byCommand {
		c := &s.byCommand[i]
		c.calls.Store(0)
		c.failed.Store(0)
		c.rejected.Store(0)
		c.took.Store(0)
	}
	s.commands.Store(0)
	s.rejected.Store(0)
}

// processed is the number of commands that ran.
func (s *Server) processed() int64 {
	n := s.stats.commands.Load()
	s.connsMu.Lock()
	defer s.connsMu.Unlock()
	for _, c := range s.conns {
		n += c.commands.Load()
	}
	return n
}

// observe sets up those who watch commands and the keyspace.
func (s *Server) observe() {
	s.traits = s.commandTraits()
	s.stats.byCommand = make([]commandStats, len(s.traits))
	s.tracker.s = s
	s.tracker.readers = map[string]map[*connection]struct{}{}
	s.tracker.broadcast = map[*connection]struct{}{}
	for _, name := range []string{"slowlog-log-slower-than", "slowlog-max-len", "tracking-table-max-keys"} {
		s.apply(name, s.setting(name))
	}
	s.keyspace.Observe(s.wrote, s.expiredKey)
}

// counted counts a command that ran.
func (q *request) counted(took time.Duration) {
	c := &q.s.stats.byCommand[q.cmd.ID]
	c.calls.Add(1)
	if q.failed {
		c.failed.Add(1)
	}
	if took > 0 {
		c.took.Add(int64(took))
	}
}

// commandStats are INFO's lines, in the order of the names; in 6.0 without what was
// refused or failed.
func (q *request) commandStats() (lines []string) {
	every := slices.Clone(q.s.table.Every())
	slices.SortFunc(every, func(a, b *command.Command) int { return strings.Compare(a.Name, b.Name) })
	for _, cmd := range every {
		c := &q.s.stats.byCommand[cmd.ID]
		calls, rejected, failed, usec := c.calls.Load(), c.rejected.Load(), c.failed.Load(), c.took.Load()/int64(time.Microsecond)
		if calls == 0 && rejected == 0 {
			continue
		}
		line := fmt.Sprintf("cmdstat_%s:calls=%d,usec=%d,usec_per_call=%.2f", cmd.Name, calls, usec, float64(usec)/float64(max(calls, 1)))
		if q.since("6.2") {
			line += fmt.Sprintf(",rejected_calls=%d,failed_calls=%d", rejected, failed)
		}
		lines = append(lines, line)
	}
	return lines
}
