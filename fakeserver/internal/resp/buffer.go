package resp

// keepBuffer is the largest buffer in bytes that an idle connection holds on to. Small enough to be forgotten among
// the 12 KiB of redcon's own buffers, large enough for the fragment of a command at the end of a read, so that busy
// connections do not allocate for it each time.
const keepBuffer = 1 << 10

// buffer is a queue of bytes that gives its memory back when it runs empty.
type buffer struct {
	b []byte
	r int // b[:r] has been consumed
}

func (q *buffer) len() int      { return len(q.b) - q.r }
func (q *buffer) bytes() []byte { return q.b[q.r:] }

func (q *buffer) consume(n int) {
	q.r += n
	if q.r == len(q.b) {
		q.reset()
	}
}

func (q *buffer) reset() {
	q.r = 0
	if cap(q.b) > keepBuffer {
		q.b = nil
	} else {
		q.b = q.b[:0]
	}
}

func (q *buffer) append(p []byte) {
	if len(p) > 0 {
		q.b = append(q.b, p...)
	}
}

// reserve returns room for at least n bytes at the end of the queue; commit makes the first of them part of it.
func (q *buffer) reserve(n int) []byte {
	if q.r > 0 {
		q.b = q.b[:copy(q.b, q.b[q.r:])]
		q.r = 0
	}
	if cap(q.b)-len(q.b) < n {
		// Doubling keeps a line or a read-ahead that arrives byte by byte linear.
		grown := make([]byte, len(q.b), max(2*len(q.b), len(q.b)+n))
		copy(grown, q.b)
		q.b = grown
	}
	return q.b[len(q.b):cap(q.b)]
}

func (q *buffer) commit(n int) { q.b = q.b[:len(q.b)+n] }
