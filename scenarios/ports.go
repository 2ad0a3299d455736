package scenarios

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
)

// ports keeps a port from being used twice in a run. Some libraries go on after they were closed: a client of a scenario that is
// over would knock at a later scenario's door, and its sign-in be taken for one of that scenario's client.
type ports struct {
	mu   sync.Mutex
	used map[int]bool
}

// onFresh calls start, which listens on free ports and says which, until none of them was ever used before.
func (p *ports) onFresh(start func() (ports []int, err error)) error {
	const attempts = 50
	for range attempts {
		ports, err := start()
		if err != nil {
			return err
		}
		if p.claim(ports) {
			return nil
		}
	}
	return errors.New("the system gives out only ports that this run has used before: play fewer scenarios in one run")
}

func (p *ports) claim(ports []int) (fresh bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used == nil {
		p.used = map[int]bool{}
	}
	fresh = true
	for _, port := range ports {
		fresh = fresh && !p.used[port]
	}
	for _, port := range ports {
		p.used[port] = true
	}
	return fresh
}

func portOf(addr string) (int, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, fmt.Errorf("address %q: %w", addr, err)
	}
	return strconv.Atoi(port)
}
