package fakeserver_test

import (
	"net"
	"syscall"
	"time"
)

// whenEnded tells when the system knew of the end of each connection's stream, in
// Unix nanoseconds.
func whenEnded(conns []net.Conn) <-chan int64 {
	times := make(chan int64, len(conns))
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		panic(err)
	}
	for _, c := range conns {
		if encrypted, ok := c.(interface{ NetConn() net.Conn }); ok {
			c = encrypted.NetConn()
		}
		raw, err := c.(syscall.Conn).SyscallConn()
		if err != nil {
			panic(err)
		}
		if err := raw.Control(func(fd uintptr) {
			err = syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, int(fd), &syscall.EpollEvent{Events: syscall.EPOLLRDHUP | syscall.EPOLLONESHOT, Fd: int32(fd)})
		}); err != nil {
			panic(err)
		}
		if err != nil {
			panic(err)
		}
	}
	go func() {
		events := make([]syscall.EpollEvent, 256)
		for range conns {
			n, err := syscall.EpollWait(epoll, events, -1)
			if err != nil && err != syscall.EINTR {
				panic(err)
			}
			now := time.Now().UnixNano()
			for range n {
				times <- now
			}
		}
	}()
	return times
}
