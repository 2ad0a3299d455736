//go:build !linux

package fakeserver_test

import (
	"net"
	"time"
)

// whenEnded tells when each connection's end was read, in Unix nanoseconds.
func whenEnded(conns []net.Conn) <-chan int64 {
	times := make(chan int64, len(conns))
	for _, c := range conns {
		go func() {
			var some [64]byte
			for {
				if _, err := c.Read(some[:]); err != nil {
					break
				}
			}
			times <- time.Now().UnixNano()
		}()
	}
	return times
}
