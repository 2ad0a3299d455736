//go:build !unix

package driver

import (
	"os"
	"os/exec"
)

// Without process groups only the driver itself is stopped; what it started in turn ends when its standard input does.
func ownGroup(*exec.Cmd) {}

func terminateGroup(p *os.Process) { _ = p.Signal(os.Interrupt) }

func killGroup(p *os.Process) { _ = p.Kill() }

// tryLock does not lock here: two harnesses must not prepare the same client at once.
func tryLock(*os.File) (bool, error) { return true, nil }
