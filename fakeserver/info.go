package fakeserver

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/entracache/entracache/fakeserver/internal/keyspace"
)

// infoSections are INFO's sections in the order of Redis. Fields that clients
// read have true values; memory is this process' own, CPU figures are 0,
// commandstats hold no time of quick commands, and errorstats and latencystats are
// not kept.
var infoSections = []struct {
	name  string
	lines func(*request) []string
}{
	{"Server", func(q *request) []string {
		up := q.s.opts.clock.Since(q.s.started)
		return []string{
			"redis_version:" + q.s.prof.version, "redis_git_sha1:00000000", "redis_git_dirty:0", "redis_build_id:0",
			"redis_mode:" + q.s.mode(), "os:Linux", "arch_bits:64", "multiplexing_api:epoll",
			fmt.Sprintf("process_id:%d", os.Getpid()), "run_id:" + q.s.runID, fmt.Sprintf("tcp_port:%d", q.c.node.port()),
			fmt.Sprintf("uptime_in_seconds:%d", int64(up/time.Second)), fmt.Sprintf("uptime_in_days:%d", int64(up/(24*time.Hour))),
			"hz:10", "configured_hz:10", fmt.Sprintf("lru_clock:%d", q.s.opts.clock.Now().Unix()&0xffffff), "executable:", "config_file:",
		}
	}},
	{"Clients", func(q *request) []string {
		all := q.c.node.connections()
		blocked, pubsub := 0, 0
		for _, c := range all {
			if c.unblock.Load() != nil || c.postponed.Load() {
				blocked++
			}
			if c.subscriptions() > 0 {
				pubsub++
			}
		}
		lines := []string{
			fmt.Sprintf("connected_clients:%d", len(all)), "7.0:cluster_connections:0", "6.2:maxclients:" + q.s.setting("maxclients"),
			"client_recent_max_input_buffer:0", "client_recent_max_output_buffer:0", fmt.Sprintf("blocked_clients:%d", blocked),
			fmt.Sprintf("tracking_clients:%d", q.s.tracker.clients.Load()), fmt.Sprintf("7.4:pubsub_clients:%d", pubsub), "clients_in_timeout_table:0",
		}
		return q.upToLevel(lines)
	}},
	{"Memory", func(q *request) []string {
		used := usedMemory()
		return []string{
			fmt.Sprintf("used_memory:%d", used), "used_memory_human:" + humanBytes(used), fmt.Sprintf("used_memory_rss:%d", used),
			fmt.Sprintf("used_memory_peak:%d", used), "maxmemory:" + q.s.setting("maxmemory"), "maxmemory_human:" + humanBytes(q.s.maxMemory.Load()),
			"maxmemory_policy:" + q.s.setting("maxmemory-policy"), "mem_fragmentation_ratio:1.00", "mem_allocator:go",
		}
	}},
	{"Persistence", func(q *request) []string {
		return q.upToLevel([]string{
			"loading:0", "6.2:async_loading:0", "rdb_changes_since_last_save:0", "rdb_bgsave_in_progress:0",
			fmt.Sprintf("rdb_last_save_time:%d", q.s.started.Unix()), "rdb_last_bgsave_status:ok", "rdb_last_bgsave_time_sec:-1",
			"aof_enabled:0", "aof_rewrite_in_progress:0", "aof_last_bgrewrite_status:ok",
		})
	}},
	{"Stats", func(q *request) []string {
		q.s.connsMu.Lock()
		received := q.s.lastConn
		q.s.connsMu.Unlock()
		q.s.hub.mu.Lock()
		channels, patterns, shards := len(q.s.hub.channels), len(q.s.hub.patterns), len(q.s.hub.shards)
		q.s.hub.mu.Unlock()
		q.s.tracker.mu.Lock()
		tracked, items, prefixes := len(q.s.tracker.readers), 0, map[string]bool{}
		for _, readers := range q.s.tracker.readers {
			items += len(readers)
		}
		for c := range q.s.tracker.broadcast {
			for _, prefix := range c.tracking.prefixes {
				prefixes[prefix] = true
			}
		}
		q.s.tracker.mu.Unlock()
		return q.upToLevel([]string{
			fmt.Sprintf("total_connections_received:%d", received), fmt.Sprintf("total_commands_processed:%d", q.s.processed()),
			"instantaneous_ops_per_sec:0", "total_net_input_bytes:0", "total_net_output_bytes:0",
			fmt.Sprintf("rejected_connections:%d", q.s.stats.rejected.Load()), "expired_keys:0",
			"evicted_keys:0", "keyspace_hits:0", "keyspace_misses:0",
			fmt.Sprintf("pubsub_channels:%d", channels), fmt.Sprintf("pubsub_patterns:%d", patterns), fmt.Sprintf("7.0:pubsubshard_channels:%d", shards),
			fmt.Sprintf("tracking_total_keys:%d", tracked), fmt.Sprintf("tracking_total_items:%d", items),
			fmt.Sprintf("tracking_total_prefixes:%d", len(prefixes)),
		})
	}},
	{"Replication", func(q *request) []string {
		lines := q.replicationRole()
		return q.upToLevel(append(lines, []string{
			"6.2:master_failover_state:no-failover", "master_replid:" + q.s.runID,
			"master_replid2:0000000000000000000000000000000000000000", "master_repl_offset:0", "second_repl_offset:-1", "repl_backlog_active:0",
			"repl_backlog_size:1048576", "repl_backlog_first_byte_offset:0", "repl_backlog_histlen:0",
		}...))
	}},
	{"CPU", func(*request) []string {
		return []string{"used_cpu_sys:0.000000", "used_cpu_user:0.000000", "used_cpu_sys_children:0.000000", "used_cpu_user_children:0.000000"}
	}},
	{"Modules", func(*request) []string { return nil }},
	{commandStatsSection, (*request).commandStats},
	{"Cluster", func(q *request) []string {
		if q.s.clustered {
			return []string{"cluster_enabled:1"}
		}
		return []string{"cluster_enabled:0"}
	}},
	{"Keyspace", func(q *request) []string {
		var lines []string
		for _, st := range q.keyspaceStats() {
			if q.s.clustered {
				if st.DB != q.c.node.shard {
					continue
				}
				st.DB = 0
			}
			lines = append(lines, fmt.Sprintf("db%d:keys=%d,expires=%d,avg_ttl=0", st.DB, st.Keys, st.Expires))
		}
		return lines
	}},
}

// mode is redis_mode.
func (s *Server) mode() string {
	if s.clustered {
		return "cluster"
	}
	return "standalone"
}

// port is tcp_port: the node's own, or that of the cache.
func (n *node) port() int {
	if n.tls != nil {
		return n.tls.addr.Port
	}
	return n.s.Port()
}

func (q *request) replicationRole() (lines []string) {
	t, n := q.s.topo.Load(), q.c.node
	replicas := q.s.connectedReplicas(n.shard)
	if leader := t.leader(n); leader == n {
		lines = append(lines, "role:master")
	} else {
		replicas = nil
		ip, port := q.c.replicationAddress(leader)
		link := "up"
		if leader.down.Load() {
			link = "down"
		}
		lines = append(lines, "role:slave", "master_host:"+ip, fmt.Sprintf("master_port:%d", port), "master_link_status:"+link,
			"master_last_io_seconds_ago:0", "master_sync_in_progress:0", "slave_repl_offset:0", "slave_priority:100", "slave_read_only:1")
	}
	lines = append(lines, fmt.Sprintf("connected_slaves:%d", len(replicas)))
	for i, r := range replicas {
		ip, port := q.c.replicationAddress(r)
		lines = append(lines, fmt.Sprintf("slave%d:ip=%s,port=%d,state=online,offset=0,lag=0", i, ip, port))
	}
	return lines
}

func (q *request) keyspaceStats() []keyspace.DBStat {
	if q.tx != nil {
		return q.tx.Stats()
	}
	var stats []keyspace.DBStat
	q.s.keyspace.Atomically(func(tx *keyspace.Tx) { stats = tx.Stats() })
	return stats
}

// upToLevel leaves out the lines that came after the engine's level: those that
// begin with a later level and a colon.
func (q *request) upToLevel(lines []string) []string {
	var kept []string
	for _, line := range lines {
		if line[0] >= '0' && line[0] <= '9' {
			if !q.since(line[:3]) {
				continue
			}
			line = line[4:]
		}
		kept = append(kept, line)
	}
	return kept
}

// humanBytes writes a size as INFO does: 1.50K, 2.00M.
func humanBytes(n int64) string {
	units := []string{"B", "K", "M", "G", "T"}
	f, unit := float64(n), 0
	for ; f >= 1024 && unit < len(units)-1; unit++ {
		f /= 1024
	}
	if unit == 0 {
		return fmt.Sprintf("%dB", n)
	}
	return fmt.Sprintf("%.2f%s", f, units[unit])
}

// commandStatsSection is shown when it is asked for, or all is.
const commandStatsSection = "Commandstats"

// infoAll are the words for more than one section.
var infoAll = map[string]bool{"default": true, "all": true, "everything": true}

// cmdInfo is INFO [section], and since 7.0 INFO [section …].
func cmdInfo(q *request) {
	if len(q.args) > 2 && !q.since("7.0") {
		q.err("ERR syntax error")
		return
	}
	wanted := map[string]bool{}
	every := len(q.args) == 1
	for _, arg := range q.args[1:] {
		name := strings.ToLower(string(arg))
		wanted[name] = true
		every = every || infoAll[name]
	}
	var b strings.Builder
	for _, section := range infoSections {
		if !wanted[strings.ToLower(section.name)] && (!every || section.name == commandStatsSection && !wanted["all"] && !wanted["everything"]) {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString("# " + section.name + "\r\n")
		for _, line := range section.lines(q) {
			b.WriteString(line + "\r\n")
		}
	}
	q.text(b.String())
}
