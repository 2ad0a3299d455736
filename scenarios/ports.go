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

// onFresh calls start, which listens on any free port and says which, until that port was never used before.
func (p *ports) onFresh(start func() (port int, err error)) error {
	const attempts = 50
	for range attempts {
		port, err := start()
		if err != nil {
			return err
		}
		if p.claim(port) {
			return nil
		}
	}
	return errors.New("the system gives out only ports that this run has used before: play fewer scenarios in one run")
}

func (p *ports) claim(port int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used[port] {
		return false
	}
	if p.used == nil {
		p.used = map[int]bool{}
	}
	p.used[port] = true
	return true
}

func portOf(addr string) (int, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, fmt.Errorf("address %q: %w", addr, err)
	}
	return strconv.Atoi(port)
}
