//go:build unix

package fakeserver

import (
	"io"
	"net"
	"os"
	"syscall"
)

// holdPort keeps an address from being used while nobody listens on it: the
// socket is bound, so that connections to it are refused.
func holdPort(addr *net.TCPAddr) (io.Closer, error) {
	family, at := syscall.AF_INET6, syscall.Sockaddr(nil)
	if ip := addr.IP.To4(); ip != nil {
		family, at = syscall.AF_INET, &syscall.SockaddrInet4{Port: addr.Port, Addr: [4]byte(ip)}
	} else {
		in6 := &syscall.SockaddrInet6{Port: addr.Port}
		copy(in6.Addr[:], addr.IP)
		at = in6
	}
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	held := os.NewFile(uintptr(fd), "held port")
	if err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err == nil {
		err = syscall.Bind(fd, at)
	}
	if err != nil {
		_ = held.Close()
		return nil, os.NewSyscallError("bind", err)
	}
	return held, nil
}
