// Package redistest starts a real redis-server for tests that hold our tables and rules against it. The server has a Unix
// socket and no port, keeps nothing on disk, and ends with the test.
package redistest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Version is the version that the tests' expectations were made with, up to its last dot.
const Version = "7.0."

// startBound is generous: it is reached only by a server that does not start.
const startBound = 30 * time.Second

// Start returns a client of a new, empty redis-server 7.0. Without such a redis-server on the path it skips the test and
// says why; with ENTRACACHE_REQUIRE=all in the environment it fails it instead.
func Start(t testing.TB) *redis.Client {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		missing(t, "no redis-server on the path; install redis-server "+Version+"x to run this comparison")
	}
	// A test's own directory can be too long a path for a Unix socket.
	dir, err := os.MkdirTemp("", "redis")
	if err != nil {
		t.Fatalf("make a directory for redis-server: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	server := exec.Command(path, "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", dir) // found on the path above
	var output strings.Builder
	server.Stdout, server.Stderr = &output, &output
	if err := server.Start(); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	exited := make(chan struct{})
	go func() {
		_ = server.Wait()
		close(exited)
	}()
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, DisableIdentity: true})
	t.Cleanup(func() {
		_ = client.Close()
		_ = server.Process.Kill()
		<-exited
	})

	ctx, cancel := context.WithTimeout(context.Background(), startBound)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := client.Ping(ctx).Err()
		if err == nil {
			break
		}
		select {
		case <-exited:
			t.Fatalf("redis-server ended instead of starting; its output:\n%s", output.String())
		case <-ctx.Done():
			t.Fatalf("redis-server did not answer within %s: %v", startBound, errors.Join(err, ctx.Err()))
		case <-tick.C:
		}
	}
	if version := serverVersion(ctx, t, client); !strings.HasPrefix(version, Version) {
		missing(t, "redis-server on the path is version "+version+"; this comparison was made with "+Version+"x")
	}
	return client
}

func serverVersion(ctx context.Context, t testing.TB, client *redis.Client) string {
	t.Helper()
	info, err := client.Info(ctx, "server").Result()
	if err != nil {
		t.Fatalf("ask redis-server for its version: %v", err)
	}
	for line := range strings.Lines(info) {
		if version, ok := strings.CutPrefix(strings.TrimSpace(line), "redis_version:"); ok {
			return version
		}
	}
	t.Fatalf("INFO server has no redis_version line:\n%s", info)
	return ""
}

func missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("ENTRACACHE_REQUIRE") == "all" {
		t.Fatalf("%s (ENTRACACHE_REQUIRE=all)", reason)
	}
	t.Skip(reason)
}
