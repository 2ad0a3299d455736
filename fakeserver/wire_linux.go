package fakeserver

import (
	"net"
	"syscall"
)

// writeLast writes what the end of the stream follows at once: both travel in one
// segment, which takes half as long. It does not wait for room.
func writeLast(c net.Conn, p []byte) (n int, err error) {
	socket, ok := c.(*net.TCPConn)
	if !ok {
		return writeLastInTime(c, p)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, err
	}
	closed := raw.Control(func(fd uintptr) {
		n, err = syscall.SendmsgN(int(fd), p, nil, nil, syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL|syscall.MSG_MORE)
	})
	if closed != nil {
		return 0, closed
	}
	return n, err
}
