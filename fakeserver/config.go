package fakeserver

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/entracache/entracache/fakeserver/internal/acl"
)

// config is CONFIG where the service does not block it. A few parameters have
// an effect here, see apply; the others are kept and shown, so that a client or
// a test suite that sets them and reads them back works.
type config struct {
	mu     sync.Mutex
	values map[string]string // those that were set; the others have their defaults
	// start are defaults of this server's own, by its options.
	start map[string]string
}

type paramKind uint8

const (
	paramText paramKind = iota
	paramBool
	paramInt
	paramMemory // bytes, with a unit such as mb when set
	paramChoice
)

type param struct {
	name, alias string
	kind        paramKind
	value       string // the default
	choices     string // of a choice, in the order of Redis' own tables
	least, most int64  // of a number; most 0: no bound
	fixed       bool   // cannot be set while the server runs
	from, until string // the levels that have it, until exclusive; empty: all
}

// The parameters and their defaults are those of redis.conf and config.c of
// Redis 6.0 and 7.0.
var params = []param{
	{name: "acl-pubsub-default", kind: paramChoice, value: "resetchannels", choices: "allchannels resetchannels", from: "6.2"},
	{name: "aclfile", fixed: true},
	{name: "acllog-max-len", kind: paramInt, value: "128"},
	{name: "active-expire-effort", kind: paramInt, value: "1", least: 1, most: 10},
	{name: "activedefrag", kind: paramBool, value: "no"},
	{name: "activerehashing", kind: paramBool, value: "yes"},
	{name: "appendfilename", value: "appendonly.aof", fixed: true},
	{name: "appendfsync", kind: paramChoice, value: "everysec", choices: "everysec always no"},
	{name: "appendonly", kind: paramBool, value: "no"},
	{name: "auto-aof-rewrite-min-size", kind: paramMemory, value: "67108864"},
	{name: "auto-aof-rewrite-percentage", kind: paramInt, value: "100"},
	{name: "bind", value: "127.0.0.1"},
	{name: "busy-reply-threshold", alias: "lua-time-limit", kind: paramInt, value: "5000", from: "7.0"},
	{name: "client-output-buffer-limit", value: "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"},
	{name: "client-query-buffer-limit", kind: paramMemory, value: "1073741824", least: 1 << 20},
	{name: "cluster-enabled", kind: paramBool, value: "no", fixed: true},
	{name: "cluster-node-timeout", kind: paramInt, value: "15000"},
	{name: "cluster-require-full-coverage", kind: paramBool, value: "yes"},
	{name: "databases", kind: paramInt, value: "16", fixed: true},
	{name: "dbfilename", value: "dump.rdb"},
	{name: "dir", value: "/data"},
	{name: "dynamic-hz", kind: paramBool, value: "yes"},
	{name: "enable-debug-command", kind: paramChoice, value: "no", choices: "no yes local", fixed: true, from: "7.0"},
	{name: "enable-module-command", kind: paramChoice, value: "no", choices: "no yes local", fixed: true, from: "7.0"},
	{name: "hash-max-listpack-entries", alias: "hash-max-ziplist-entries", kind: paramInt, value: "512", from: "7.0"},
	{name: "hash-max-listpack-value", alias: "hash-max-ziplist-value", kind: paramMemory, value: "64", from: "7.0"},
	{name: "hash-max-ziplist-entries", kind: paramInt, value: "512", until: "7.0"},
	{name: "hash-max-ziplist-value", kind: paramMemory, value: "64", until: "7.0"},
	{name: "hll-sparse-max-bytes", kind: paramMemory, value: "3000"},
	{name: "hz", kind: paramInt, value: "10"},
	{name: "io-threads", kind: paramInt, value: "1", fixed: true},
	{name: "latency-monitor-threshold", kind: paramInt, value: "0"},
	{name: "latency-tracking", kind: paramBool, value: "yes", from: "7.0"},
	{name: "lazyfree-lazy-eviction", kind: paramBool, value: "no"},
	{name: "lazyfree-lazy-expire", kind: paramBool, value: "no"},
	{name: "lazyfree-lazy-server-del", kind: paramBool, value: "no"},
	{name: "lazyfree-lazy-user-del", kind: paramBool, value: "no"},
	{name: "lfu-decay-time", kind: paramInt, value: "1"},
	{name: "lfu-log-factor", kind: paramInt, value: "10"},
	{name: "list-compress-depth", kind: paramInt, value: "0"},
	{name: "list-max-listpack-size", alias: "list-max-ziplist-size", kind: paramInt, value: "-2", least: math.MinInt32, from: "7.0"},
	{name: "list-max-ziplist-size", kind: paramInt, value: "-2", least: math.MinInt32, until: "7.0"},
	{name: "logfile", fixed: true},
	{name: "loglevel", kind: paramChoice, value: "notice", choices: "debug verbose notice warning"},
	{name: "lua-time-limit", kind: paramInt, value: "5000", until: "7.0"},
	{name: "maxclients", kind: paramInt, value: "10000", least: 1, most: math.MaxUint32},
	{name: "maxmemory", kind: paramMemory, value: "0"},
	{name: "maxmemory-policy", kind: paramChoice, value: "noeviction",
		choices: "volatile-lru volatile-lfu volatile-random volatile-ttl allkeys-lru allkeys-lfu allkeys-random noeviction"},
	{name: "maxmemory-samples", kind: paramInt, value: "5", least: 1, most: math.MaxInt32},
	{name: "min-replicas-max-lag", alias: "min-slaves-max-lag", kind: paramInt, value: "10"},
	{name: "min-replicas-to-write", alias: "min-slaves-to-write", kind: paramInt, value: "0"},
	{name: "notify-keyspace-events"},
	{name: "port", kind: paramInt, value: "6379", most: 65535},
	{name: "proto-max-bulk-len", kind: paramMemory, value: "536870912", least: 1 << 20},
	{name: "protected-mode", kind: paramBool, value: "yes"},
	{name: "rdbcompression", kind: paramBool, value: "yes"},
	{name: "repl-backlog-size", kind: paramMemory, value: "1048576", least: 1},
	{name: "repl-diskless-sync", kind: paramBool, value: "no"},
	{name: "repl-diskless-sync-delay", kind: paramInt, value: "5"},
	{name: "repl-timeout", kind: paramInt, value: "60", least: 1},
	{name: "replica-priority", alias: "slave-priority", kind: paramInt, value: "100"},
	{name: "replica-read-only", alias: "slave-read-only", kind: paramBool, value: "yes"},
	{name: "replica-serve-stale-data", alias: "slave-serve-stale-data", kind: paramBool, value: "yes"},
	{name: "requirepass"},
	{name: "save"},
	{name: "set-max-intset-entries", kind: paramInt, value: "512"},
	{name: "slowlog-log-slower-than", kind: paramInt, value: "10000", least: -1},
	{name: "slowlog-max-len", kind: paramInt, value: "128"},
	{name: "stop-writes-on-bgsave-error", kind: paramBool, value: "yes"},
	{name: "stream-node-max-bytes", kind: paramMemory, value: "4096"},
	{name: "stream-node-max-entries", kind: paramInt, value: "100"},
	{name: "tcp-backlog", kind: paramInt, value: "511", fixed: true},
	{name: "tcp-keepalive", kind: paramInt, value: "300"},
	{name: "timeout", kind: paramInt, value: "0", most: math.MaxInt32},
	{name: "tls-port", kind: paramInt, value: "0", most: 65535},
	{name: "tracking-table-max-keys", kind: paramInt, value: "1000000"},
	{name: "zset-max-listpack-entries", alias: "zset-max-ziplist-entries", kind: paramInt, value: "128", from: "7.0"},
	{name: "zset-max-listpack-value", alias: "zset-max-ziplist-value", kind: paramMemory, value: "64", from: "7.0"},
	{name: "zset-max-ziplist-entries", kind: paramInt, value: "128", until: "7.0"},
	{name: "zset-max-ziplist-value", kind: paramMemory, value: "64", until: "7.0"},
}

func (s *Server) findParam(name string) *param {
	name = strings.ToLower(name)
	for i := range params {
		p := &params[i]
		if (p.name == name || p.alias != "" && p.alias == name) && p.on(s.prof.level) {
			return p
		}
	}
	return nil
}

func (p *param) on(level string) bool { return level >= p.from && (p.until == "" || level < p.until) }

// setting is a parameter's present value; it must exist.
func (s *Server) setting(name string) string {
	p := s.findParam(name)
	s.config.mu.Lock()
	defer s.config.mu.Unlock()
	return s.config.get(p)
}

func (c *config) get(p *param) string {
	if v, ok := c.values[p.name]; ok {
		return v
	}
	if v, ok := c.start[p.name]; ok {
		return v
	}
	return p.value
}

// parse checks a value and returns it as CONFIG GET will show it, or says what
// is wrong with it.
func (p *param) parse(level, value string) (parsed, wrong string) {
	switch p.kind {
	case paramBool:
		if v := strings.ToLower(value); v == "yes" || v == "no" {
			return v, ""
		}
		return "", "argument must be 'yes' or 'no'"
	case paramChoice:
		choices := strings.Fields(p.choices)
		if v := strings.ToLower(value); slices.Contains(choices, v) {
			return v, ""
		}
		if level >= "7.0" {
			return "", "argument(s) must be one of the following: " + strings.Join(choices, ", ")
		}
		return "", "argument must be one of the following: " + strings.Join(choices, ", ")
	case paramInt, paramMemory:
		n, ok := parseNumber([]byte(value))
		if p.kind == paramMemory {
			n, ok = parseMemory(value)
		}
		most := p.most
		if most == 0 {
			most = math.MaxInt64
		}
		switch {
		case !ok && p.kind == paramMemory:
			return "", "argument must be a memory value"
		case !ok:
			return "", "argument couldn't be parsed into an integer"
		case n < p.least || n > most:
			return "", fmt.Sprintf("argument must be between %d and %d inclusive", p.least, most)
		}
		return strconv.FormatInt(n, 10), ""
	}
	if p.name == "notify-keyspace-events" {
		flags, ok := notifyFlags(level, value)
		if !ok {
			return "", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."
		}
		return flags, ""
	}
	return value, ""
}

// parseMemory reads a size such as 100mb: k, m and g are powers of ten, kb, mb
// and gb powers of two.
func parseMemory(value string) (int64, bool) {
	digits := strings.TrimRight(strings.ToLower(value), "bkmg")
	units := map[string]int64{"": 1, "b": 1, "k": 1e3, "kb": 1 << 10, "m": 1e6, "mb": 1 << 20, "g": 1e9, "gb": 1 << 30}
	unit, ok := units[strings.ToLower(value)[len(digits):]]
	n, err := strconv.ParseInt(digits, 10, 64)
	return n * unit, ok && err == nil && n >= 0 && n <= math.MaxInt64/max(unit, 1)
}

// apply gives a parameter its effect.
func (s *Server) apply(name, value string) {
	n, _ := strconv.ParseInt(value, 10, 64)
	switch name {
	case "maxmemory":
		s.maxMemory.Store(n)
	case "maxclients":
		s.maxClients.Store(n)
	case "timeout":
		s.idleTimeout.Store(n * int64(time.Second))
		for _, c := range s.connections() {
			s.wg.Go(c.watchIdle) // closing one may wait for its client
		}
	case "requirepass":
		s.setDefaultPassword(value)
	case "acl-pubsub-default":
		s.acl.Store(s.rules().WithAllChannels(value == "allchannels"))
	case "acllog-max-len":
		s.aclLog.limit(int(n))
	case "slowlog-log-slower-than":
		s.slowlog.threshold.Store(n)
	case "slowlog-max-len":
		s.slowlog.capacity.Store(n)
	case "tracking-table-max-keys":
		s.tracker.limit(int(n))
	case "notify-keyspace-events":
		s.notify.set(value)
		if strings.ContainsAny(value, "Ax") {
			s.expireInTime()
		}
	}
}

// cmdConfig is CONFIG. The profile of Azure Cache for Redis blocks it.
func cmdConfig(q *request) {
	switch {
	case q.is("help", 2, 2):
		q.help("GET <pattern> -- The parameters that match and their values.", "SET <parameter> <value> -- Change a parameter.",
			"RESETSTAT -- Reset what INFO counts.", "REWRITE -- Write the configuration file, which there is not.")
	case q.is("get", 3, 3), q.is("get", 3, -1) && q.since("7.0"):
		q.configGet()
	case q.is("set", 4, 4), q.is("set", 4, -1) && len(q.args)%2 == 0 && q.since("7.0"):
		q.configSet()
	case q.is("resetstat", 2, 2):
		q.s.stats.reset()
		q.simple("OK")
	case q.is("rewrite", 2, 2):
		q.err("ERR The server is running without a config file")
	case q.is("set", 4, -1) && q.since("7.0"):
		q.syntaxError()
	default:
		q.unknownSubcommand()
	}
}

func (q *request) configGet() {
	s := q.s
	s.config.mu.Lock()
	defer s.config.mu.Unlock()
	var found []string
	for i := range params {
		p := &params[i]
		if !p.on(s.prof.level) {
			continue
		}
		for _, name := range []string{p.name, p.alias} {
			if name == "" {
				continue
			}
			shown := ""
			for _, pattern := range q.args[2:] {
				switch {
				case q.since("7.0") && !bytes.ContainsAny(pattern, "[*?") && equalFold(pattern, name):
					shown = string(pattern) // as it was asked for
				case acl.MatchGlob(strings.ToLower(string(pattern)), []byte(name)):
					shown = name
				default:
					continue
				}
				break
			}
			if shown == "" {
				continue
			}
			value := s.config.get(p)
			if name == "port" {
				value = strconv.Itoa(s.Port())
			}
			found = append(found, shown, value)
		}
	}
	q.mapHeader(len(found) / 2)
	for _, word := range found {
		q.bulk(word)
	}
}

func (q *request) configSet() {
	s := q.s
	changes := map[*param]string{}
	for i := 2; i < len(q.args); i += 2 {
		name, value := clip(q.args[i], 128), string(q.args[i+1])
		p := s.findParam(name)
		if p == nil {
			if q.since("7.0") {
				q.err(fmt.Sprintf("ERR Unknown option or number of arguments for CONFIG SET - '%s'", name))
			} else {
				q.err("ERR Unsupported CONFIG parameter: " + name)
			}
			return
		}
		parsed, wrong := p.parse(s.prof.level, value)
		if _, twice := changes[p]; twice {
			wrong = "duplicate parameter"
		} else if p.fixed {
			if !q.since("7.0") {
				q.err("ERR Unsupported CONFIG parameter: " + name)
				return
			}
			wrong = "can't set immutable config"
		}
		if wrong != "" {
			if q.since("7.0") {
				q.err(fmt.Sprintf("ERR CONFIG SET failed (possibly related to argument '%s') - %s", name, wrong))
			} else {
				q.err(fmt.Sprintf("ERR Invalid argument '%s' for CONFIG SET '%s' - %s", value, name, wrong))
			}
			return
		}
		changes[p] = parsed
	}
	s.change(changes)
	if s.full() {
		q.evict()
	}
	q.simple("OK")
}

func (s *Server) change(changes map[*param]string) {
	s.config.mu.Lock()
	defer s.config.mu.Unlock()
	if s.config.values == nil {
		s.config.values = map[string]string{}
	}
	for p, value := range changes {
		s.config.values[p.name] = value
		s.apply(p.name, value)
	}
}

// undoConfig gives all parameters their defaults.
func (s *Server) undoConfig() {
	s.config.mu.Lock()
	defer s.config.mu.Unlock()
	set := s.config.values
	s.config.values = nil
	for name := range set {
		s.apply(name, s.config.get(s.findParam(name)))
	}
}
