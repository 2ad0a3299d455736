package fakeserver_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/entracache/entracache/fakeentra"
	"github.com/entracache/entracache/fakeserver"
)

// startPair starts both fakes as a test does.
func startPair(t testing.TB) (*fakeentra.Server, *fakeserver.Server) {
	entra, err := fakeentra.Start()
	require.NoError(t, err)
	cache, err := fakeserver.Start(fakeserver.WithIssuer(entra.Authority()), fakeserver.WithIssuerCA(entra.CAPEM()))
	require.NoError(t, err)
	return entra, cache
}

// TestThousandPairs starts and closes 1000 pairs, some of them after a sign-in, and
// looks for what they leave behind.
func TestThousandPairs(t *testing.T) {
	one := func(used bool) {
		entra, cache := startPair(t)
		defer func() {
			require.NoError(t, cache.Close())
			require.NoError(t, entra.Close())
		}()
		if !used {
			return
		}
		app := entra.RegisterApp("orders")
		require.NoError(t, cache.Assign(app.ObjectID, fakeserver.DataContributor))
		token, _, err := signIn(entra, app)
		require.NoError(t, err)
		conn, err := cache.Dial(t.Context(), "tcp", cache.Addr())
		require.NoError(t, err)
		c := &client{t: t, conn: conn}
		require.Equal(t, "+OK", c.line("AUTH", app.ObjectID, token))
		require.NoError(t, conn.Close())
	}
	one(true) // what is made once per process is there now
	before := goleak.IgnoreCurrent()
	heap := liveHeap()
	pairs := 1000
	if raceDetector || testing.Short() {
		pairs = 100
	}
	begin := time.Now()
	for i := range pairs {
		one(i%10 == 0)
	}
	t.Logf("%d pairs, %s each", pairs, time.Since(begin)/time.Duration(pairs))
	assert.NoError(t, goleak.Find(before))
	// A pair that stays behind would be hundreds of KiB.
	assert.Less(t, float64(liveHeap()-heap)/float64(pairs), 2048.0, "bytes kept for each pair")
}

// liveHeap is what is in use after garbage collection, in bytes.
func liveHeap() int64 {
	runtime.GC()
	runtime.GC() // what finalizers held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) // no heap is that large
}

// BenchmarkPair is the start of a pair, and its end.
func BenchmarkPair(b *testing.B) {
	entra, cache := startPair(b) // the keys are made once per process
	require.NoError(b, cache.Close())
	require.NoError(b, entra.Close())
	var started time.Duration
	for b.Loop() {
		begin := time.Now()
		entra, cache := startPair(b)
		started += time.Since(begin)
		require.NoError(b, cache.Close())
		require.NoError(b, entra.Close())
	}
	b.ReportMetric(float64(started.Microseconds())/float64(b.N)/1000, "ms-to-start")
}
