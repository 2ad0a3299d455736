package fakeserver

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/entracache/entracache/fakeserver/internal/command"
	"github.com/entracache/entracache/fakeserver/internal/keyspace"
)

// Do runs a command on database 0 beside the wire: on no connection, under no
// access policy, and without an event. It is for tests that prepare or look at
// data. It runs PUBLISH and the plain data commands; those that block or are
// about a connection are refused. The reply is RESP2, as a connection would get it; an
// error reply comes back as the error. In a clustered cache the keys say which
// shard it is for; without any, DBSIZE, FLUSHALL and FLUSHDB are for all of
// them.
func (s *Server) Do(args ...string) (reply string, err error) {
	if len(args) == 0 {
		return "", errors.New("run a command beside the wire: expected a command, got none")
	}
	list := make([][]byte, len(args))
	for i, a := range args {
		list[i] = []byte(a)
	}
	cmd, container := s.table.Find(list)
	switch {
	case cmd == nil && container != nil:
		err = errors.New(unknownSubcommandText(list))
	case cmd == nil:
		err = errors.New(unknownText(s.prof.level, list))
	case !cmd.ArityOK(len(list)):
		err = fmt.Errorf("ERR wrong number of arguments for '%s' command", cmd.Name)
	case cmd.Name == "publish":
		return fmt.Sprintf(":%d\r\n", s.hub.publish(args[1], list[2])), nil
	case !s.plain(cmd):
		err = errors.New("it is about a connection; send it over one")
	default:
		reply, err = s.doInShard(cmd, list)
		if err != nil {
			break
		}
		if text, failed := strings.CutPrefix(reply, "-"); failed {
			reply, err = "", errors.New(strings.TrimSuffix(text, "\r\n"))
		}
	}
	if err != nil {
		err = fmt.Errorf("run %s beside the wire: %w", strings.ToUpper(args[0]), err)
	}
	return reply, err
}

// plain says whether the data engine runs the command and needs nothing for it
// but the keyspace.
func (s *Server) plain(cmd *command.Command) bool {
	name, _, _ := strings.Cut(cmd.Name, "|")
	t := s.traits[cmd.ID]
	return s.keyspace.Knows(name) && !t.waits && !t.script && !cmd.InCategory("connection") && !cmd.InCategory("transaction") && !cmd.InCategory("pubsub")
}

// doInShard runs a data command in the shard that it is for.
func (s *Server) doInShard(cmd *command.Command, args [][]byte) (string, error) {
	do := func(shard int) string {
		call := keyspace.Call{Session: s.sessionOf(shard), Command: cmd, Args: args, Proto: 2}
		if s.clustered {
			q := request{s: s}
			if !q.inShard(&call) {
				return string(q.out)
			}
		}
		return string(s.keyspace.Do(nil, call))
	}
	if !s.clustered {
		return do(0), nil
	}
	keys := keySet{slot: -1}
	if !keys.add(cmd, args) {
		return "", errors.New(crossSlotText)
	}
	t := s.topo.Load()
	if keys.slot >= 0 {
		return do(int(t.slots[keys.slot])), nil
	}
	switch cmd.Name {
	case "dbsize":
		total := 0
		for shard := range t.primary {
			n, err := strconv.Atoi(strings.Trim(do(shard), ":\r\n"))
			if err != nil {
				return "", fmt.Errorf("count the keys of shard %d: %w", shard, err)
			}
			total += n
		}
		return fmt.Sprintf(":%d\r\n", total), nil
	case "flushall", "flushdb":
		reply := ""
		for shard := range t.primary {
			reply = do(shard)
		}
		return reply, nil
	}
	return "", errors.New("the cache is clustered, and the command names no key that would say which shard it is for")
}
