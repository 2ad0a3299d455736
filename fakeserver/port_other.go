//go:build !unix

package fakeserver

import (
	"errors"
	"io"
	"net"
)

func holdPort(*net.TCPAddr) (io.Closer, error) { return nil, errors.ErrUnsupported }
