package scenarios

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"syscall"
)

// ports gives every server of a run ports of its own. Some libraries go on after they were closed: a client of a scenario that is over
// would knock at a later scenario's door, and its sign-in be taken for one of that scenario's client.
//
// They are below those that systems give out by themselves, from which one cannot have several in a row that were not used before.
type ports struct {
	mu    sync.Mutex
	next  int // 0: none was given out yet
	taken int
}

const (
	firstPort = 10_000
	lastPort  = 32_767
)

// take returns the first of n ports in a row that nobody listens on, and that this run has not used before.
func (p *ports) take(n int) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == 0 { // another run beside this one is somewhere else
		p.next = firstPort + rand.IntN(lastPort-firstPort)
	}
	for {
		if p.next+n-1 > lastPort {
			p.taken += lastPort + 1 - p.next
			p.next = firstPort
		}
		if p.taken += n; p.taken > lastPort+1-firstPort {
			return 0, errors.New("this run has used every port that it may: play fewer scenarios in one run")
		}
		first := p.next
		p.next += n
		if free(first, n) {
			return first, nil
		}
	}
}

func free(first, n int) bool {
	for port := first; port < first+n; port++ {
		listener, err := net.Listen("tcp", local(port))
		if err != nil {
			return false
		}
		listener.Close()
	}
	return true
}

// local is the address of a port.
func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// onFresh has start listen on n ports, the first of which it is given; again with others, should somebody else have been quicker.
func (p *ports) onFresh(n int, start func(first int) error) error {
	const attempts = 3
	var err error
	for range attempts {
		first, takeErr := p.take(n)
		if takeErr != nil {
			return takeErr
		}
		if err = start(first); !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
	}
	return fmt.Errorf("others take each port that this run is about to use: %w", err)
}
