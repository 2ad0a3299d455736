package scenarios

import (
	"fmt"
	"time"

	"github.com/entracache/entracache/scenarios/protocol"
)

// Lane maps the durations of a feature ("tokens live for 60 minutes") to the wall clock.
type Lane struct {
	// Name is "scaled" or "real".
	Name string
	// Speed is how many times faster than real life the durations of the features pass. 1 in the real lane.
	Speed float64
}

// DefaultSpeed makes an hour pass in ten seconds. JWT times are whole seconds, so at this speed a token's life is exact to six
// minutes (it is rounded up, never down), and the three minutes that the specification asks for are half a second: enough for a
// busy machine to be told from a late client.
const DefaultSpeed = 360

// MaxSpeed is the fastest speed at which the verdicts still hold: an hour becomes three seconds, a minute 50 ms.
const MaxSpeed = 1200

// NewLane returns the lane of that name. speed is used by the scaled lane only; 0 means [DefaultSpeed].
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
	case "real":
		if speed != 0 && speed != 1 {
			return Lane{}, fmt.Errorf("speed %g with the real lane: the real lane runs at speed 1; leave --speed out, or use the scaled lane", speed)
		}
		return Lane{Name: name, Speed: 1}, nil
	default:
		return Lane{}, fmt.Errorf("unknown lane %q: expected scaled or real", name)
	}
}

// Wall is how long the duration d of a feature takes on the wall clock.
func (l Lane) Wall(d time.Duration) time.Duration {
	return time.Duration(float64(d) / l.Speed)
}

// Life is how much of a feature's time passes in the wall duration d.
func (l Lane) Life(d time.Duration) time.Duration {
	return time.Duration(float64(d) * l.Speed)
}

// For is the lane for a library that needs tokens to live at least so long on the wall clock: the same, or slower.
func (l Lane) For(limits *protocol.Limits) Lane {
	if limits == nil || limits.MinTokenLifetimeMS == 0 {
		return l
	}
	// The features let tokens live for an hour.
	if most := float64(time.Hour.Milliseconds()) / float64(limits.MinTokenLifetimeMS); most < l.Speed {
		l.Speed = max(1, most)
	}
	return l
}

// minGrace outlasts the reconnect back-offs that libraries ship with (two seconds at most in those we know) and a token request: they
// are real seconds in every lane.
const minGrace = 8 * time.Second

// grace is how long, on the wall clock, a client has to come back that has n minutes for it. A library whose own timers take longer
// than the scaled minutes, and no longer than real ones, has as long as they take.
func (l Lane) grace(n int, limits *protocol.Limits) time.Duration {
	minutes := time.Duration(n) * time.Minute
	wait := max(l.Wall(minutes), minGrace)
	if limits != nil {
		wait = max(wait, min(minutes, time.Duration(limits.RecoveryMS)*time.Millisecond))
	}
	return wait
}
