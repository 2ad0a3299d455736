package fakeentra_test

import (
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeentra"
)

func ask(t *testing.T, s *fakeentra.Server, times int) {
	t.Helper()
	for range times {
		s.Handler().ServeHTTP(httptest.NewRecorder(), keysRequest(t))
	}
}

func TestRequestLogTellsWhatItHasDropped(t *testing.T) {
	s := fakeentra.RunT(t, fakeentra.WithRequestLogLimit(8))
	ask(t, s, 8)
	log := s.Requests()
	require.Len(t, log, 8)
	require.Equal(t, int64(1), log[0].Seq)

	ask(t, s, 1)
	log = s.Requests()
	require.Equal(t, fakeentra.EndpointLog, log[0].Endpoint)
	require.Equal(t, fakeentra.OutcomeGap, log[0].Outcome)
	require.Equal(t, int64(3), log[0].Seq, "the last one that is missing")
	require.Equal(t, int64(3), log[0].Dropped)
	require.Len(t, log, 7)

	ask(t, s, 100)
	log = s.Requests()
	require.LessOrEqual(t, len(log), 8)
	require.Equal(t, int64(109), log[len(log)-1].Seq)
	require.Equal(t, log[0].Seq, log[0].Dropped, "everything up to here")
	for i, r := range log[1:] {
		require.Equal(t, log[0].Seq+int64(i)+1, r.Seq, "nothing is missing without a gap")
		require.NotEqual(t, fakeentra.OutcomeGap, r.Outcome, "one gap is enough")
	}
}

func TestRequestsSince(t *testing.T) {
	s := fakeentra.RunT(t, fakeentra.WithRequestLogLimit(8))
	ask(t, s, 5)
	require.Len(t, s.RequestsSince(0), 5)
	require.Equal(t, int64(4), s.RequestsSince(3)[0].Seq)
	require.Empty(t, s.RequestsSince(5))
	require.Empty(t, s.RequestsSince(500))

	ask(t, s, 4) // 1 to 3 are gone
	require.Equal(t, fakeentra.OutcomeGap, s.RequestsSince(0)[0].Outcome)
	require.Equal(t, fakeentra.OutcomeGap, s.RequestsSince(2)[0].Outcome, "3 is missing to somebody who has seen 2")
	require.Equal(t, int64(4), s.RequestsSince(3)[0].Seq, "nothing is missing to somebody who has seen 3")
}

// Somebody who follows the log sees every entry once, in order, and is told of what
// they were too slow for.
func TestFollowingTheLog(t *testing.T) {
	const writers, each = 4, 200
	s := fakeentra.RunT(t, fakeentra.WithRequestLogLimit(16))
	var writing sync.WaitGroup
	for range writers {
		writing.Go(func() {
			for range each {
				s.Handler().ServeHTTP(httptest.NewRecorder(), keysRequest(t))
			}
		})
	}
	last := int64(0)
	_, err := s.WaitRequest(boundedContext(t), func(r fakeentra.Request) bool {
		if r.Outcome != fakeentra.OutcomeGap {
			assert.Equal(t, last+1, r.Seq)
		} else {
			assert.Greater(t, r.Seq, last)
		}
		last = r.Seq
		return r.Seq == writers*each
	})
	require.NoError(t, err)
	writing.Wait()
}

func TestRequestLogWithoutALimit(t *testing.T) {
	s := fakeentra.RunT(t, fakeentra.WithRequestLogLimit(0))
	ask(t, s, 50)
	require.Len(t, s.Requests(), 50)
}

func TestRequestLogLimitsThatMakeNoSense(t *testing.T) {
	for _, n := range []int{-1, 1, 3} {
		_, err := fakeentra.Start(fakeentra.WithRequestLogLimit(n))
		require.ErrorContains(t, err, "WithRequestLogLimit: expected 0 for no limit, or at least 4")
	}
}
