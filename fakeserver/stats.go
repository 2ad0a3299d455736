package fakeserver

import "sync/atomic"

// stats are what INFO counts. Each connection counts its own commands, so that
// counting costs nothing where it matters; what closed ones counted is here.
type stats struct {
	commands atomic.Int64 // of connections that are closed, less what was reset
	rejected atomic.Int64 // connections beyond maxclients
}

func (s *stats) reset() {
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
	s.tracker.s = s
	s.tracker.readers = map[string]map[*connection]struct{}{}
	s.tracker.broadcast = map[*connection]struct{}{}
	for _, name := range []string{"slowlog-log-slower-than", "slowlog-max-len", "tracking-table-max-keys"} {
		s.apply(name, s.setting(name))
	}
	s.keyspace.Observe(s.wrote, s.expiredKey)
}
