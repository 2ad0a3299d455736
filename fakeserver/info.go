package fakeserver

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/entracache/entracache/fakeserver/internal/keyspace"
)

// infoSections are INFO's sections in the order of Redis 6.0. Fields that
// clients read have true values; memory and CPU figures are 0.
var infoSections = []struct {
	name  string
	lines func(*request) []string
}{
	{"Server", func(q *request) []string {
		up := q.s.opts.clock.Since(q.s.started)
		return []string{
			"redis_version:" + q.s.prof.version, "redis_git_sha1:00000000", "redis_git_dirty:0", "redis_build_id:0",
			"redis_mode:standalone", "os:Linux", "arch_bits:64", "multiplexing_api:epoll",
			fmt.Sprintf("process_id:%d", os.Getpid()), "run_id:" + q.s.runID, fmt.Sprintf("tcp_port:%d", q.s.Port()),
			fmt.Sprintf("uptime_in_seconds:%d", int64(up/time.Second)), fmt.Sprintf("uptime_in_days:%d", int64(up/(24*time.Hour))),
			"hz:10", "configured_hz:10", fmt.Sprintf("lru_clock:%d", q.s.opts.clock.Now().Unix()&0xffffff), "executable:", "config_file:",
		}
	}},
	{"Clients", func(q *request) []string {
		all := q.s.connections()
		blocked := 0
		for _, c := range all {
			if c.unblock.Load() != nil {
				blocked++
			}
		}
		return []string{
			fmt.Sprintf("connected_clients:%d", len(all)), "client_recent_max_input_buffer:0", "client_recent_max_output_buffer:0",
			fmt.Sprintf("blocked_clients:%d", blocked), "tracking_clients:0", "clients_in_timeout_table:0",
		}
	}},
	{"Memory", func(*request) []string {
		return []string{"used_memory:0", "used_memory_human:0B", "used_memory_rss:0", "used_memory_peak:0", "maxmemory:0", "maxmemory_human:0B",
			"maxmemory_policy:volatile-lru", "mem_fragmentation_ratio:1.00", "mem_allocator:go"}
	}},
	{"Persistence", func(q *request) []string {
		return []string{"loading:0", "rdb_changes_since_last_save:0", "rdb_bgsave_in_progress:0",
			fmt.Sprintf("rdb_last_save_time:%d", q.s.started.Unix()), "rdb_last_bgsave_status:ok", "aof_enabled:0", "aof_rewrite_in_progress:0"}
	}},
	{"Stats", func(q *request) []string {
		q.s.connsMu.Lock()
		received := q.s.lastConn
		q.s.connsMu.Unlock()
		q.s.hub.mu.Lock()
		channels, patterns := len(q.s.hub.channels), len(q.s.hub.patterns)
		q.s.hub.mu.Unlock()
		return []string{fmt.Sprintf("total_connections_received:%d", received), "rejected_connections:0", "expired_keys:0", "evicted_keys:0",
			fmt.Sprintf("pubsub_channels:%d", channels), fmt.Sprintf("pubsub_patterns:%d", patterns)}
	}},
	{"Replication", func(q *request) []string {
		return []string{"role:master", "connected_slaves:0", "master_replid:" + q.s.runID, "master_replid2:0000000000000000000000000000000000000000",
			"master_repl_offset:0", "second_repl_offset:-1", "repl_backlog_active:0", "repl_backlog_size:1048576",
			"repl_backlog_first_byte_offset:0", "repl_backlog_histlen:0"}
	}},
	{"CPU", func(*request) []string {
		return []string{"used_cpu_sys:0.000000", "used_cpu_user:0.000000", "used_cpu_sys_children:0.000000", "used_cpu_user_children:0.000000"}
	}},
	{"Modules", func(*request) []string { return nil }},
	{"Cluster", func(*request) []string { return []string{"cluster_enabled:0"} }},
	{"Keyspace", func(q *request) []string {
		var lines []string
		for _, st := range q.keyspaceStats() {
			lines = append(lines, fmt.Sprintf("db%d:keys=%d,expires=%d,avg_ttl=0", st.DB, st.Keys, st.Expires))
		}
		return lines
	}},
}

func (q *request) keyspaceStats() []keyspace.DBStat {
	if q.tx != nil {
		return q.tx.Stats()
	}
	var stats []keyspace.DBStat
	q.s.keyspace.Atomically(func(tx *keyspace.Tx) { stats = tx.Stats() })
	return stats
}

// cmdInfo is INFO [section].
func cmdInfo(q *request) {
	if len(q.args) > 2 {
		q.err("ERR syntax error")
		return
	}
	want := "default"
	if len(q.args) == 2 {
		want = strings.ToLower(string(q.args[1]))
	}
	var b strings.Builder
	for _, section := range infoSections {
		name := strings.ToLower(section.name)
		if want != name && want != "default" && want != "all" && want != "everything" {
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
