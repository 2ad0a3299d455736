package driver

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/jonboulle/clockwork"

	"github.com/entracache/entracache/fakeserver/clock"
)

// VirtualTime is a time that passes faster than the real one, from the moment it was made. The fakes read it from its Clock, and the
// processes of drivers are made to see it in whatever they ask their system for: it is the same function of real time for all of them,
// so that they agree to a millisecond of real time, however long a process took to start.
type VirtualTime struct {
	speed  int
	clock  *clock.Clock
	start  instant
	shared *sharedStart // for libfaketime; nil until a process needs it
}

// MaxVirtualSpeed is the fastest virtual time: three days pass in three minutes. Beyond it the milliseconds that a token request and a
// handshake take are minutes, and timers of the operating system too coarse.
const MaxVirtualSpeed = 1440

// The ways in which a driver's process is made to see virtual time, as client.yaml names them.
const (
	ByLibfaketime = "libfaketime" // the library is preloaded; for programs that ask the C library for the time
	ByOverlay     = "overlay"     // for Go programs, which do not: they are built with a runtime whose clock is faster
)

// NewVirtualTime starts a virtual time, at the real one. The speed is a whole number of virtual seconds to a real one.
func NewVirtualTime(speed float64) (*VirtualTime, error) {
	if speed < 1 || speed > MaxVirtualSpeed || speed != math.Trunc(speed) {
		return nil, fmt.Errorf("speed %g is out of range: give the virtual lane a whole number from 1 to %d", speed, MaxVirtualSpeed)
	}
	v := &VirtualTime{speed: int(speed), clock: clock.New()}
	if err := v.clock.SetRate(speed); err != nil {
		return nil, err
	}
	var err error
	v.start, err = thisInstant()
	return v, err
}

// Clock shows the virtual time in this process.
func (v *VirtualTime) Clock() clockwork.Clock { return v.clock }

// Environment is what a process's environment needs so that it sees the virtual time, by [ByLibfaketime] or [ByOverlay]. library is the
// libfaketime to preload, see [FindLibfaketime].
func (v *VirtualTime) Environment(by, library string) (map[string]string, error) {
	switch by {
	case ByOverlay:
		return map[string]string{overlayVariable: fmt.Sprintf("%d %d %d", v.speed, v.start.real.Nano(), v.start.monotonic.Nano())}, nil
	case ByLibfaketime:
		if v.shared == nil {
			shared, err := shareStart(v.start)
			if err != nil {
				return nil, fmt.Errorf("start the clock of libfaketime: %w", err)
			}
			v.shared = shared
		}
		return map[string]string{
			"LD_PRELOAD": library,
			// No moment is named, for that could be said in whole seconds only, and would count from when the process came to read it:
			// the moment from which time passes faster is in the memory that the processes share.
			"FAKETIME":            "+0 x" + strconv.Itoa(v.speed),
			"FAKETIME_DONT_RESET": "1",
			"FAKETIME_SHARED":     v.shared.names(),
			"NO_FAKE_STAT":        "1", // the times of files stay as they are
		}, nil
	default:
		return nil, fmt.Errorf("cannot speed a process up by %q: expected %s or %s", by, ByLibfaketime, ByOverlay)
	}
}

// Close removes what the processes shared. They have to have ended.
func (v *VirtualTime) Close() error {
	if v.shared == nil {
		return nil
	}
	return v.shared.remove()
}

var errNoVirtualTime = errors.New("virtual time needs Linux: use the scaled lane")
