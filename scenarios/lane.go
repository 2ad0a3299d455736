package scenarios

import (
	"fmt"
	"strings"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/entracache/entracache/scenarios/driver"
	"github.com/entracache/entracache/scenarios/protocol"
)

// Lane maps the durations of a feature ("tokens live for 60 minutes") to two clocks: the wall clock, and the world's clock, which the
// fakes, the waits and the records of a scenario go by.
//
// In the scaled and the real lane these two are the same, and a duration of a feature is divided by the speed on both. In the virtual
// lane the world's clock, and with it that of the driver's process, runs faster by the speed: there a duration of a feature is what it
// says, and only on the wall is it divided. What bounds real work, such as how long an answer is waited for, is given on the wall clock
// in every lane.
type Lane struct {
	// Name is one of [Lanes].
	Name string
	// Speed is how many times faster than real life the durations of the features pass. 1 in the real lane.
	Speed float64

	virtual *driver.VirtualTime // nil but in the virtual lane
}

// Lanes are the names of the lanes.
var Lanes = []string{"scaled", "virtual", "real"}

// DefaultSpeed makes an hour pass in ten seconds. JWT times are whole seconds, so at this speed a token's life is exact to six
// minutes (it is rounded up, never down), and the three minutes that the specification asks for are half a second: enough for a
// busy machine to be told from a late client.
const DefaultSpeed = 360

// DefaultVirtualSpeed makes an hour pass in 72 seconds. Token requests and handshakes take their real time, and so seconds or, on a busy
// machine, a minute of the virtual time. libfaketime cuts the milliseconds of epoll_wait and poll to whole ones of the real time, and who
// waits for the rest of the last one spins: at this speed the usual timers, of a second or a tenth, have no rest. At 60 Netty's event
// loops, which wake every second, took twice the processor time.
const DefaultVirtualSpeed = 50

// MaxSpeed is the fastest speed of the scaled lane at which the verdicts still hold: an hour becomes three seconds, a minute 50 ms.
const MaxSpeed = 1200

// NewLane returns the lane of that name. A speed of 0 means the lane's own: [DefaultSpeed], [DefaultVirtualSpeed] or 1. The clock of a
// virtual lane starts with it; the lane has to be closed.
func NewLane(name string, speed float64) (Lane, error) {
	switch name {
	case "scaled":
		if speed == 0 {
			speed = DefaultSpeed
		}
		if speed < 1 || speed > MaxSpeed {
			return Lane{}, fmt.Errorf("speed %g is out of range: give a factor from 1 to %d", speed, MaxSpeed)
		}
		return Lane{Name: name, Speed: speed}, nil
	case "virtual":
		if speed == 0 {
			speed = DefaultVirtualSpeed
		}
		virtual, err := driver.NewVirtualTime(speed)
		return Lane{Name: name, Speed: speed, virtual: virtual}, err
	case "real":
		if speed != 0 && speed != 1 {
			return Lane{}, fmt.Errorf("speed %g with the real lane: the real lane runs at speed 1; leave --speed out, or use the scaled lane", speed)
		}
		return Lane{Name: name, Speed: 1}, nil
	default:
		return Lane{}, fmt.Errorf("unknown lane %q: expected %s", name, strings.Join(Lanes, ", "))
	}
}

// Close frees what the lane holds of the system. The drivers that were started for it have to have ended.
func (l Lane) Close() error {
	if l.virtual == nil {
		return nil
	}
	return l.virtual.Close()
}

// Virtual is the time that the processes of drivers are to see, or nil where it is the real one.
func (l Lane) Virtual() *driver.VirtualTime { return l.virtual }

// Clock is the world's clock, for what is recorded beside the fakes, too.
func (l Lane) Clock() clockwork.Clock {
	if l.virtual == nil {
		return clockwork.NewRealClock()
	}
	return l.virtual.Clock()
}

// Wall is how long the duration d of a feature takes on the wall clock.
func (l Lane) Wall(d time.Duration) time.Duration {
	return time.Duration(float64(d) / l.Speed)
}

// World is how long the duration d of a feature takes on the world's clock.
func (l Lane) World(d time.Duration) time.Duration {
	return time.Duration(float64(l.Wall(d)) * l.rate())
}

// Life is how much of a feature's time passes in the duration d of the world's clock.
func (l Lane) Life(d time.Duration) time.Duration {
	return time.Duration(float64(d) * l.Speed / l.rate())
}

// Patience is how much of the world's clock passes in the duration d of the wall clock.
func (l Lane) Patience(d time.Duration) time.Duration { return time.Duration(float64(d) * l.rate()) }

// clockRate is what the client is told of how fast its clock runs: 0, which is nothing, where that is as fast as any.
func (l Lane) clockRate() int {
	if l.virtual == nil {
		return 0
	}
	return int(l.Speed)
}

// rate is how many seconds of the world's clock pass in one of the wall clock.
func (l Lane) rate() float64 {
	if l.virtual == nil {
		return 1
	}
	return l.Speed
}

// For is the lane for a library that needs tokens to live at least so long on its clock: the same, or slower. In the virtual lane
// they live as long as in real life.
func (l Lane) For(limits *protocol.Limits) Lane {
	if l.virtual != nil || limits == nil || limits.MinTokenLifetimeMS == 0 {
		return l
	}
	// The features let tokens live for an hour.
	if most := float64(time.Hour.Milliseconds()) / float64(limits.MinTokenLifetimeMS); most < l.Speed {
		l.Speed = max(1, most)
	}
	return l
}

// minGrace outlasts the reconnect back-offs that libraries ship with (two seconds at most in those we know) and a token request: they
// are real seconds in every lane but the virtual one.
const minGrace = 8 * time.Second

// grace is how long, on the wall clock, a client has to come back that has n minutes for it. A library whose own timers take longer
// than the scaled minutes, and no longer than real ones, has as long as they take.
func (l Lane) grace(n int, limits *protocol.Limits) time.Duration {
	minutes := time.Duration(n) * time.Minute
	wait := max(l.Wall(minutes), minGrace)
	if limits != nil {
		own := time.Duration(float64(limits.RecoveryMS)/l.rate()) * time.Millisecond
		wait = max(wait, min(minutes, own))
	}
	return wait
}
