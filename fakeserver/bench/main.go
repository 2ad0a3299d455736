// Command bench measures the fake cache against miniredis and a real
// redis-server in one run, and prints ratios: absolute numbers say more about
// the machine than about the server.
//
//	go run ./fakeserver/bench
//
// The load comes from redis-benchmark, 50 connections on one key. The fake
// cache is signed in to with a token, as a Data Contributor, and redis-server
// with a user of the same permissions. The servers take turns, and each number is the median
// of the rounds, each ratio the median of the rounds' ratios, so that a busy
// machine disturbs all of them alike. What is not installed is named, and its
// ratios are left out. The exit status is 1 if a ratio misses its goal.
//
// Without a pipeline nearly all of the time goes into the system calls and the
// wake-up that each request costs a goroutine. Two servers that do nothing else
// show what is left to gain: redcon with a fixed answer, and a loop of Read and
// Write, plain and over TLS. Where such a loop misses the goal as well, the output
// says so.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/csv"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/tidwall/redcon"

	"github.com/entracache/entracache/fakeentra"
	"github.com/entracache/entracache/fakeserver"
)

// startTimeout bounds the start of redis-server.
const startTimeout = 10 * time.Second

func main() {
	// ballast makes the garbage collector run when there are some tens of MiB of
	// garbage instead of four. It is never touched, so it takes no memory. A
	// program that serves little but the cache should have one, too: with a small
	// heap collecting takes a quarter of the time under full load.
	ballast := make([]byte, 32<<20)
	defer runtime.KeepAlive(ballast)
	rounds := flag.Int("rounds", 5, "how often each server is measured")
	requests := flag.Int("n", 1_000_000, "requests of one pipelined measurement; one without a pipeline makes a tenth")
	keys := flag.Int("r", 0, "spread the load over this many keys (redis-benchmark -r); 0 means one key")
	commands := flag.String("t", "set,get", "commands to measure, as redis-benchmark -t names them")
	only := flag.String("only", "", "measure only the loads whose name contains this")
	against := flag.String("against", strings.Join([]string{mini, redis, bareRedcon, bareGo}, ","), "servers to compare with")
	profile := flag.String("cpuprofile", "", "write a CPU profile of the fake cache and miniredis to this file")
	flag.Parse()
	ok, err := run(*rounds, *requests, *keys, strings.Split(*commands, ","), *only, strings.Split(*against, ","), *profile)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

// load is one way to use a server.
type load struct {
	name     string
	tls      bool
	pipeline int
	goals    []goal
}

// goal is the least ratio of the fake cache to another server; 0 only shows it.
type goal struct {
	against string
	ratio   float64
}

const (
	ours  = "entracache"
	mini  = "miniredis"
	redis = "redis-server"

	bareRedcon = "bare redcon"
	bareGo     = "bare Go"
)

var loads = []load{
	{"pipelined", false, 64, []goal{{mini, 4}, {redis, 0.5}}},
	{"single", false, 1, []goal{{redis, 0.85}, {bareRedcon, 0}, {bareGo, 0}}},
	{"single TLS", true, 1, []goal{{redis, 0.85}, {bareGo, 0}}},
}

// server is where one of the servers listens, and how to sign in.
type server struct {
	plain, tls     string // addresses; empty: it does not offer that
	user, password string
	pid            int // whose processor time it takes
}

// sample is one measurement.
type sample struct {
	rate float64 // requests per second
	cpu  float64 // processor time of the server per request, in microseconds; 0 if unknown
}

func run(rounds, requests, keys int, commands []string, only string, against []string, profile string) (ok bool, err error) {
	if _, err := exec.LookPath("redis-benchmark"); err != nil {
		return false, errors.New("redis-benchmark makes the load and is not installed (Debian: apt-get install redis-tools)")
	}
	dir, err := os.MkdirTemp("", "entracache-bench")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	servers, stop, err := startServers(dir)
	defer stop()
	if err != nil {
		return false, err
	}
	for name := range servers {
		if name != ours && !slices.Contains(against, name) {
			delete(servers, name)
		}
	}
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return false, err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return false, err
		}
		defer pprof.StopCPUProfile()
	}
	ok = true
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer table.Flush()
	fmt.Fprintf(table, "load\tcommand\tserver\trequests/s\tCPU µs\tratio of %s to it\n", ours)
	for _, l := range loads {
		if !strings.Contains(l.name, only) {
			continue
		}
		for _, command := range commands {
			samples, err := measure(l, command, servers, rounds, requests, keys)
			if err != nil {
				return false, err
			}
			ok = report(table, l, command, samples) && ok
		}
	}
	return ok, nil
}

// measure lets the servers that the load is compared with take turns. The
// result holds one rate per round for each.
func measure(l load, command string, servers map[string]server, rounds, requests, keys int) (map[string][]sample, error) {
	names := []string{ours}
	for _, g := range l.goals {
		names = append(names, g.against)
	}
	samples := map[string][]sample{}
	for range rounds {
		for _, name := range names {
			s, there := servers[name]
			if !there {
				continue
			}
			before := processorTime(s.pid)
			taken, made, err := benchmark(l, command, s, requests, keys)
			if err != nil {
				return nil, fmt.Errorf("measure %s %s of %s: %w", l.name, strings.ToUpper(command), name, err)
			}
			used := processorTime(s.pid) - before
			samples[name] = append(samples[name], sample{taken, float64(used.Microseconds()) / float64(made)})
		}
	}
	return samples, nil
}

func report(w io.Writer, l load, command string, samples map[string][]sample) (ok bool) {
	ok = true
	line := func(name, ratio string) {
		rate, cpu := "missing", ""
		if list := samples[name]; len(list) > 0 {
			rate = fmt.Sprintf("%.0f", median(list, func(s sample) float64 { return s.rate }))
			cpu = fmt.Sprintf("%.2f", median(list, func(s sample) float64 { return s.cpu }))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", l.name, strings.ToUpper(command), name, rate, cpu, ratio)
	}
	line(ours, "")
	for _, g := range l.goals {
		ratios := ratiosOf(samples, ours, g.against)
		if len(ratios) == 0 {
			if g.ratio > 0 {
				line(g.against, fmt.Sprintf("at least %.2f asked, not measured", g.ratio))
			}
			continue
		}
		middle := median(ratios, itself)
		verdict := fmt.Sprintf("at least %.2f asked: ok", g.ratio)
		switch {
		case g.ratio == 0:
			verdict = "does nothing else"
		case middle < g.ratio:
			verdict, ok = fmt.Sprintf("at least %.2f asked: MISSED", g.ratio), false
			if most := ratiosOf(samples, bareGo, g.against); len(most) > 0 && median(most, itself) < g.ratio {
				verdict += fmt.Sprintf(", and by %s too: %.2f", bareGo, median(most, itself))
			}
		}
		line(g.against, fmt.Sprintf("%.2f (%.2f to %.2f), %s", middle, slices.Min(ratios), slices.Max(ratios), verdict))
	}
	return ok
}

// ratiosOf are the rounds' ratios of one server to another; none if one is missing.
func ratiosOf(samples map[string][]sample, one, other string) (ratios []float64) {
	for i := range min(len(samples[one]), len(samples[other])) {
		ratios = append(ratios, samples[one][i].rate/samples[other][i].rate)
	}
	return ratios
}

func itself(r float64) float64 { return r }

func median[T any](list []T, value func(T) float64) float64 {
	var sorted []float64
	for _, v := range list {
		sorted = append(sorted, value(v))
	}
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}

// processorTime is what a process has used so far, as Linux tells it; 0
// elsewhere. On a busy machine it says more than requests per second do.
func processorTime(pid int) time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name of the program, in parentheses, may hold blanks. After it come
	// the fields from the third on; 14 and 15 are the times in ticks.
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	const tick = 10 * time.Millisecond
	var ticks int
	for _, f := range fields[11:13] {
		n, _ := strconv.Atoi(f)
		ticks += n
	}
	return time.Duration(ticks) * tick
}

// benchmark runs redis-benchmark once and returns its requests per second, and
// how many it made.
func benchmark(l load, command string, s server, requests, keys int) (rate float64, made int, err error) {
	addr := s.plain
	if l.tls {
		addr = s.tls
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, 0, err
	}
	if l.pipeline == 1 {
		requests /= 10
	}
	args := []string{"-h", host, "-p", port, "-t", command, "-n", strconv.Itoa(requests), "-c", "50", "-P", strconv.Itoa(l.pipeline), "--csv"}
	if s.user != "" {
		args = append(args, "--user", s.user, "-a", s.password)
	}
	if l.tls {
		args = append(args, "--tls", "--insecure")
	}
	if keys > 0 {
		args = append(args, "-r", strconv.Itoa(keys))
	}
	out, err := exec.Command("redis-benchmark", args...).Output()
	if err != nil {
		return 0, 0, fmt.Errorf("redis-benchmark: %w", err)
	}
	// Warnings about CONFIG, which a contributor may not run, precede the table.
	at := bytes.Index(out, []byte(`"test"`))
	if at < 0 {
		return 0, 0, fmt.Errorf("redis-benchmark: expected a CSV table, got %q", out)
	}
	rows, err := csv.NewReader(bytes.NewReader(out[at:])).ReadAll()
	if err != nil || len(rows) != 2 || len(rows[1]) < 2 {
		return 0, 0, fmt.Errorf("redis-benchmark: expected two rows, got %q (%v)", out[at:], err)
	}
	rate, err = strconv.ParseFloat(rows[1][1], 64)
	return rate, requests, err
}

// startServers starts what there is. stop ends it all, also after an error.
func startServers(dir string) (servers map[string]server, stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, f := range slices.Backward(stops) {
			f()
		}
	}
	servers = map[string]server{}

	entra, err := fakeentra.Start()
	if err != nil {
		return nil, stop, err
	}
	stops = append(stops, func() { _ = entra.Close() })
	app := entra.RegisterApp("bench")
	token, err := entra.IssueToken(app)
	if err != nil {
		return nil, stop, err
	}
	cache, err := fakeserver.Start(fakeserver.WithPlainAddr("127.0.0.1:0"), fakeserver.WithTokensOnPlainPort(),
		fakeserver.WithIssuer(entra.Authority()), fakeserver.WithIssuerCA(entra.CAPEM()))
	if err != nil {
		return nil, stop, err
	}
	stops = append(stops, func() { _ = cache.Close() })
	if err := cache.Assign(app.ObjectID, fakeserver.DataContributor); err != nil {
		return nil, stop, err
	}
	servers[ours] = server{plain: cache.PlainAddr(), tls: cache.Addr(), user: app.ObjectID, password: token, pid: os.Getpid()}

	m, err := miniredis.Run()
	if err != nil {
		return nil, stop, err
	}
	stops = append(stops, m.Close)
	servers[mini] = server{plain: m.Addr(), pid: os.Getpid()}

	cert, _, err := fakeserver.MakeCertificate()
	if err != nil {
		return nil, stop, err
	}
	for _, bare := range []struct {
		name  string
		tls   *tls.Config
		serve func(net.Listener)
	}{
		{bareRedcon, nil, serveRedcon},
		{bareGo, nil, serveGo},
		{bareGo, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, serveGo},
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, stop, err
		}
		stops = append(stops, func() { _ = ln.Close() })
		s := servers[bare.name]
		s.pid = os.Getpid()
		if bare.tls == nil {
			s.plain = ln.Addr().String()
		} else {
			s.tls = ln.Addr().String()
			ln = tls.NewListener(ln, bare.tls)
		}
		go bare.serve(ln)
		servers[bare.name] = s
	}

	real, end, err := startRedis(dir)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		fmt.Printf("redis-server is not installed (Debian: apt-get install redis-server): its ratios are missing\n\n")
	case err != nil:
		return nil, stop, err
	default:
		stops = append(stops, end)
		servers[redis] = real
	}
	return servers, stop, nil
}

// serveRedcon answers everything with OK.
func serveRedcon(ln net.Listener) {
	_ = redcon.Serve(ln, func(c redcon.Conn, _ redcon.Command) { c.WriteString("OK") }, nil, nil)
}

// serveGo answers every read with OK, which is right for requests that come one
// at a time.
func serveGo(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			in, out := make([]byte, 4096), []byte("+OK\r\n")
			for {
				if _, err := c.Read(in); err != nil {
					return
				}
				if _, err := c.Write(out); err != nil {
					return
				}
			}
		}()
	}
}

// startRedis starts a real server with a user who may do what ours may.
func startRedis(dir string) (server, func(), error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return server{}, nil, err
	}
	certFile, keyFile, err := writeCertificate(dir)
	if err != nil {
		return server{}, nil, err
	}
	plain, encrypted, err := freePorts()
	if err != nil {
		return server{}, nil, err
	}
	s := server{plain: "127.0.0.1:" + plain, tls: "127.0.0.1:" + encrypted, user: "bench", password: "bench"}
	config := fmt.Sprintf("bind 127.0.0.1\nport %s\ntls-port %s\ntls-cert-file %s\ntls-key-file %s\ntls-auth-clients no\nsave \"\"\ndir %s\n"+
		"user bench on >bench %s\nuser default off\n", plain, encrypted, certFile, keyFile, dir,
		strings.Replace(fakeserver.DataContributor.Permissions, "allkeys", "allkeys allchannels", 1))
	configFile := filepath.Join(dir, "redis.conf")
	if err := os.WriteFile(configFile, []byte(config), 0o600); err != nil {
		return server{}, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, configFile)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		cancel()
		return server{}, nil, err
	}
	s.pid = cmd.Process.Pid
	stop := func() { cancel(); _ = cmd.Wait() }
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", s.tls)
		if err == nil {
			_ = c.Close()
			return s, stop, nil
		}
		if time.Now().After(deadline) {
			stop()
			return server{}, nil, fmt.Errorf("redis-server does not listen after %s:\n%s", startTimeout, log.String())
		}
	}
}

func freePorts() (a, b string, err error) {
	for _, port := range []*string{&a, &b} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", "", err
		}
		defer ln.Close()
		_, *port, _ = net.SplitHostPort(ln.Addr().String())
	}
	return a, b, nil
}

// writeCertificate puts a certificate like that of the fake cache where
// redis-server can read it.
func writeCertificate(dir string) (certFile, keyFile string, err error) {
	cert, _, err := fakeserver.MakeCertificate()
	if err != nil {
		return "", "", err
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return "", "", err
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	return certFile, keyFile, errors.Join(
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
}
