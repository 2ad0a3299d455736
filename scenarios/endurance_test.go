package scenarios

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestTroubles: what is drawn is the same each time, of every kind, and never so dense that a client has no time to come back.
func TestTroubles(t *testing.T) {
	kinds := map[string]bool{}
	for seed := range uint64(50) {
		list, again := troubles(3, seed), troubles(3, seed)
		assert.GreaterOrEqual(t, len(list), 6)
		assert.Len(t, again, len(list))
		quiet := time.Duration(0)
		for i, x := range list {
			kinds[x.what] = true
			assert.Equal(t, x.what, again[i].what)
			assert.Equal(t, x.from, again[i].from)
			assert.GreaterOrEqual(t, x.from-quiet, quietAtLeast)
			quiet = x.from + x.lasts
		}
		assert.Less(t, quiet, 72*time.Hour-quietAtLeast+90*time.Minute, "the last trouble is followed by quiet")
	}
	assert.Len(t, kinds, 4)
}
