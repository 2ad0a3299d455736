package clock_test

import (
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/entracache/entracache/fakeserver/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fired says whether a channel has something.
func fired(ch <-chan time.Time) bool {
	synctest.Wait()
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// Inside a bubble real time is exact, so the scaled one can be compared exactly.
func TestShowsRealTimeUntilChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.New()
		assert.True(t, c.Now().Equal(time.Now()))
		time.Sleep(time.Hour)
		assert.True(t, c.Now().Equal(time.Now()))
		assert.Equal(t, 1.0, c.Rate())
	})
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.New()
		start := c.Now()
		require.NoError(t, c.SetRate(60))
		time.Sleep(time.Minute)
		assert.Equal(t, time.Hour, c.Since(start))
		require.NoError(t, c.SetRate(0.5))
		time.Sleep(time.Minute)
		assert.Equal(t, time.Hour+30*time.Second, c.Since(start), "what passed before stays passed")
		for _, bad := range []float64{-1, math.NaN(), math.Inf(1), 2 * clock.MaxRate} {
			assert.ErrorContains(t, c.SetRate(bad), "expected 0 to", "%g", bad)
		}
		assert.Equal(t, 0.5, c.Rate(), "a refused rate changes nothing")
	})
}

func TestFreezeAndAdvance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.New()
		start := c.Now()
		require.NoError(t, c.SetRate(10))
		c.Freeze()
		assert.True(t, c.Frozen())
		time.Sleep(time.Hour)
		assert.Equal(t, time.Duration(0), c.Since(start))
		timer := c.NewTimer(time.Hour)
		time.Sleep(48 * time.Hour)
		assert.False(t, fired(timer.Chan()), "nothing fires while the clock is frozen")
		c.Advance(time.Hour - 1)
		assert.False(t, fired(timer.Chan()))
		c.Advance(1)
		assert.True(t, fired(timer.Chan()))
		c.Resume()
		time.Sleep(time.Second)
		assert.Equal(t, time.Hour+10*time.Second, c.Since(start), "it goes on at the rate it had")
	})
}

// TestTimersFollowTheRate: a timer waits for its moment, at whatever rate that
// comes.
func TestTimersFollowTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.New()
		timer := c.NewTimer(time.Hour)
		begin := time.Now()
		time.Sleep(30 * time.Minute)
		require.NoError(t, c.SetRate(1800))
		<-timer.Chan()
		assert.Equal(t, 30*time.Minute+time.Second, time.Since(begin))

		timer.Reset(time.Hour)
		require.NoError(t, c.SetRate(1))
		begin = time.Now()
		<-timer.Chan()
		assert.Equal(t, time.Hour, time.Since(begin))

		var at atomic.Pointer[time.Time]
		due := c.Now().Add(time.Hour)
		c.AfterFunc(time.Hour, func() { now := c.Now(); at.Store(&now) })
		c.Advance(2 * time.Hour)
		synctest.Wait()
		require.NotNil(t, at.Load(), "what was passed over fires")
		assert.Equal(t, due.Add(time.Hour), *at.Load())
	})
}

func TestSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.New()
		timer := c.NewTimer(time.Minute)
		c.Advance(-time.Hour)
		time.Sleep(time.Hour)
		assert.False(t, fired(timer.Chan()))
		time.Sleep(time.Minute)
		assert.True(t, fired(timer.Chan()))
		c.Reset()
		assert.True(t, c.Now().Equal(time.Now()))
	})
}

func TestStopAndReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.NewFrozenAt(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))
		timer := c.NewTimer(time.Second)
		assert.True(t, timer.Stop())
		assert.False(t, timer.Stop())
		c.Advance(time.Hour)
		assert.False(t, fired(timer.Chan()))
		assert.False(t, timer.Reset(time.Second))
		c.Advance(time.Second)
		assert.False(t, timer.Reset(time.Second), "it has fired")
		assert.False(t, fired(timer.Chan()), "what it sent before Reset is gone")
		c.Advance(time.Second)
		assert.True(t, fired(timer.Chan()))
		assert.True(t, fired(c.After(0)), "a duration that has passed fires at once")
		assert.True(t, fired(c.After(-time.Hour)))
	})
}

func TestTicker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.New()
		require.NoError(t, c.SetRate(60))
		begin := time.Now()
		ticker := c.NewTicker(time.Minute)
		for range 3 {
			<-ticker.Chan()
		}
		assert.Equal(t, 3*time.Second, time.Since(begin))
		c.Advance(24*time.Hour + 30*time.Second)
		assert.True(t, fired(ticker.Chan()))
		assert.False(t, fired(ticker.Chan()), "ticks that nobody took are dropped")
		begin = time.Now()
		<-ticker.Chan()
		assert.Equal(t, 500*time.Millisecond, time.Since(begin), "it keeps its pace")
		ticker.Stop()
		time.Sleep(time.Hour)
		assert.False(t, fired(ticker.Chan()))
		assert.Panics(t, func() { c.NewTicker(0) })
	})
}

// TestManyTimers fires in order, none early and none lost.
func TestManyTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.New()
		require.NoError(t, c.SetRate(1000))
		start := c.Now()
		var early, count atomic.Int64
		for i := range 5000 {
			d := time.Duration(i*7919%5000) * time.Second
			c.AfterFunc(d, func() {
				if c.Since(start) < d {
					early.Add(1)
				}
				count.Add(1)
			})
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		assert.Equal(t, int64(5000), count.Load())
		assert.Zero(t, early.Load())
	})
}

// TestOnTheRealClock: outside a bubble too.
func TestOnTheRealClock(t *testing.T) {
	c := clock.New()
	require.NoError(t, c.SetRate(clock.MaxRate))
	begin := c.Now()
	c.Sleep(24 * time.Hour)
	assert.GreaterOrEqual(t, c.Since(begin), 24*time.Hour)
}

func BenchmarkNow(b *testing.B) {
	b.Run("time", func(b *testing.B) {
		for b.Loop() {
			_ = time.Now()
		}
	})
	b.Run("clock", func(b *testing.B) {
		c := clock.New()
		for b.Loop() {
			_ = c.Now()
		}
	})
}
