package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/entracache/entracache/scenarios"
	"github.com/entracache/entracache/scenarios/driver"
)

// The lanes that are chosen for a client when none is asked for.
const (
	laneAuto    = "auto"
	laneScaled  = "scaled"
	laneVirtual = "virtual"
)

// lanes are those of one run, each made once.
type lanes struct {
	asked    string // one of scenarios.Lanes, or laneAuto
	speed    float64
	faketime string

	mu   sync.Mutex // clients are started side by side
	made map[string]scenarios.Lane
}

// newLanes makes what was asked for. A speed without a lane is one of the scaled lane. Where nothing but scenarios of the virtual lane is
// to be played, that is the lane.
func newLanes(asked string, speed float64, faketime string, selected []*scenarios.Scenario) (*lanes, error) {
	l := &lanes{asked: asked, speed: speed, faketime: faketime, made: map[string]scenarios.Lane{}}
	if asked == laneAuto {
		virtual := len(selected) > 0
		for _, s := range selected {
			virtual = virtual && s.Lane == laneVirtual
		}
		switch {
		case virtual:
			l.asked = laneVirtual
		case speed != 0:
			l.asked = laneScaled
		}
	}
	_, err := l.make(l.suiting(nil))
	return l, err
}

// make returns the lane of that name.
func (l *lanes) make(name string) (scenarios.Lane, error) {
	lane, ok := l.made[name]
	if ok {
		return lane, nil
	}
	lane, err := scenarios.NewLane(name, l.speed)
	if err == nil {
		l.made[name] = lane
	}
	return lane, err
}

// suiting is the name of the lane for a client. A driver that is a command, without a configuration, is nil.
func (l *lanes) suiting(config *driver.Config) string {
	switch {
	case l.asked != laneAuto:
		return l.asked
	case config != nil && config.Lane != "":
		return config.Lane
	default:
		return laneScaled
	}
}

// names are those of all lanes that the clients are played in.
func (l *lanes) names(clients []candidate) []string {
	names := []string{l.suiting(nil)}
	for _, item := range clients {
		names = append(names, l.suiting(item.config))
	}
	return names
}

// close frees what the lanes hold of the system. The drivers have to have ended.
func (l *lanes) close() error {
	var err error
	for _, lane := range l.made {
		err = errors.Join(err, lane.Close())
	}
	return err
}

// tempo is how a client's process is made to see the time of its lane.
type tempo struct {
	lane    scenarios.Lane
	library string // libfaketime, where it is needed
}

// errNotVirtual says that a client cannot be played in the virtual lane at all, whatever the machine has.
type errNotVirtual struct{ reason string }

func (e *errNotVirtual) Error() string { return "not in the virtual lane: " + e.reason }

// tempoIn finds what the client needs in the lane of that name.
func (l *lanes) tempoIn(ctx context.Context, name string, config *driver.Config) (tempo, error) {
	lane, err := l.make(name)
	if err != nil || lane.Virtual() == nil {
		return tempo{lane: lane}, err
	}
	if config == nil {
		return tempo{}, &errNotVirtual{"a command of your own is not known to see virtual time: give it a folder with a client.yaml that says how (virtual: { by: … })"}
	}
	if why := config.NotInVirtualLane(); why != "" {
		return tempo{}, &errNotVirtual{why}
	}
	t := tempo{lane: lane}
	if config.Virtual.By == driver.ByLibfaketime {
		t.library, err = driver.FindLibfaketime(ctx, l.faketime, lane.Virtual())
	}
	return t, err
}

// tempoFor finds what the client needs in the lane that suits it. Where that lane cannot be had and none was asked for, it is the scaled
// one, and the second value says why.
func (l *lanes) tempoFor(ctx context.Context, config *driver.Config) (t tempo, instead string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := l.suiting(config)
	if t, err = l.tempoIn(ctx, name, config); err == nil || l.asked != laneAuto || name == laneScaled {
		return t, "", err
	}
	instead = fmt.Sprintf("it suits the %s lane, which cannot be had (%v), and is played in the scaled one, where it takes longer", name, err)
	t, err = l.tempoIn(ctx, laneScaled, config)
	return t, instead, err
}
