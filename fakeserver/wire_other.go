//go:build !linux

package fakeserver

import "net"

func writeLast(c net.Conn, p []byte) (int, error) { return writeLastInTime(c, p) }
