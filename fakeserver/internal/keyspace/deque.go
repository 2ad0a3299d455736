package keyspace

// deque is a list that is cheap to change at both ends.
type deque struct {
	ring []string
	head int // of the first element in ring
	n    int
}

func newDeque(list []string) *deque {
	return &deque{ring: append([]string(nil), list...), n: len(list)}
}

func (d *deque) place(i int) int {
	if i += d.head; i >= len(d.ring) {
		i -= len(d.ring)
	}
	return i
}

func (d *deque) at(i int) string { return d.ring[d.place(i)] }

func (d *deque) push(front bool, v string) {
	if d.n == len(d.ring) {
		ring := make([]string, max(16, 2*d.n))
		d.copyTo(ring)
		d.ring, d.head = ring, 0
	}
	if front {
		d.head = d.place(len(d.ring) - 1)
		d.ring[d.head] = v
	} else {
		d.ring[d.place(d.n)] = v
	}
	d.n++
}

func (d *deque) pop(front bool) string {
	i := d.head
	if front {
		d.head = d.place(1)
	} else {
		i = d.place(d.n - 1)
	}
	v := d.ring[i]
	d.ring[i] = "" // let go of it
	d.n--
	return v
}

// copyTo copies the elements in their order.
func (d *deque) copyTo(dst []string) {
	k := copy(dst, d.ring[d.head:min(d.head+d.n, len(d.ring))])
	copy(dst[k:], d.ring[:d.n-k])
}

func (d *deque) list() []string {
	list := make([]string, d.n)
	d.copyTo(list)
	return list
}
