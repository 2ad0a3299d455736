package scenarios

import (
	"errors"
	"fmt"
	"time"

	"github.com/entracache/entracache/fakeentra"
	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/scenarios/protocol"
)

// runs is for a command that is to succeed; triesToRun is for one that may fail. The difference keeps a failure in the middle of a
// scenario from being hidden by what follows.
func (w *World) runs(command string) error {
	if err := w.triesToRun(command); err != nil {
		return err
	}
	return w.commandSucceeds()
}

func (w *World) triesToRun(command string) error {
	var err error
	w.last, err = w.doLine(command)
	return err
}

// runsEvery collects the outcomes for "every command succeeded"; one failure does not end it, as an application goes on too.
func (w *World) runsEvery(interval, duration int) error {
	return w.everySo(interval, duration, func() error {
		o, err := w.doLine("PING")
		if err == nil {
			w.results = append(w.results, o)
		}
		return err
	})
}

// everySo does something at once and then every so many minutes, for as many.
func (w *World) everySo(interval, duration int, do func() error) error {
	end := w.clock.Now().Add(w.span(duration))
	for next := w.clock.Now(); next.Before(end); next = next.Add(w.span(interval)) {
		if err := w.wait(next.Sub(w.clock.Now())); err != nil {
			return err
		}
		if err := do(); err != nil {
			return err
		}
	}
	return w.wait(end.Sub(w.clock.Now()))
}

func (w *World) timePasses(minutes int) error { return w.wait(w.span(minutes)) }

func (w *World) published(message, channel string) error {
	_, err := w.cache.Do("PUBLISH", channel, message)
	return err
}

func (w *World) cacheReboots() error { return w.cache.Reboot() }

func (w *World) cacheIsAway(minutes int) error {
	return w.cache.Reboot(fakeserver.RebootTakes(w.span(minutes)))
}

func (w *World) nextAuthRefused() error {
	return w.meets(fakeserver.Fault{Action: fakeserver.FaultError, Command: fakeserver.FaultSignIn, Times: 1, Error: fakeserver.DefaultWrongPassText})
}

func (w *World) nextAuthLost() error {
	return w.meets(fakeserver.Fault{Action: fakeserver.FaultDrop, Command: fakeserver.FaultSignIn, Times: 1})
}

func (w *World) nextAuthHeldBack() error {
	return w.meets(fakeserver.Fault{Action: fakeserver.FaultTruncate, Then: fakeserver.FaultHang, Command: fakeserver.FaultSignIn, Times: 1})
}

// untilAuthCame goes on as an application does, whatever becomes of its commands.
func (w *World) untilAuthCame(interval int) error {
	if w.fault == nil {
		return errors.New("the step needs a fault that was set before it")
	}
	const most = 75
	deadline := w.clock.Now().Add(w.span(most))
	for w.fault.Fired() == 0 {
		if w.clock.Now().After(deadline) {
			return expect("the client to send AUTH within the life of its token", "it has sent none")
		}
		if _, err := w.doLine("PING"); err != nil {
			return err
		}
		for next := w.clock.Now().Add(w.span(interval)); w.fault.Fired() == 0 && w.clock.Now().Before(next); {
			if err := w.wait(w.span(interval) / pollDivisor); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *World) signInsTooLate(n int) error {
	return w.meets(fakeserver.Fault{Action: fakeserver.FaultError, Command: fakeserver.FaultSignIn, Times: n,
		Delay: w.lane.Patience(connectTimeout + 2*time.Second), Error: fakeserver.DefaultWrongPassText})
}

func (w *World) heldBackIsSent() error {
	w.fault.Remove()
	return nil
}

func (w *World) connectionsGoDead() error {
	return w.meets(fakeserver.Fault{Action: fakeserver.FaultHalfOpen, AtOnce: true})
}

// meets sets a fault of the cache that the client is to meet.
func (w *World) meets(f fakeserver.Fault) error {
	var err error
	w.fault, err = w.cache.AddFault(f)
	return err
}

func (w *World) othersLeave() error {
	for _, conn := range w.others {
		if err := conn.Close(); err != nil {
			return err
		}
	}
	w.others = nil
	return nil
}

func (w *World) entraEnabled(minutes int) error {
	return w.cache.EnableEntra("", fakeserver.RebootTakes(w.span(minutes)))
}

func (w *World) accessKeysDisabled() error { return w.cache.DisableAccessKeys() }

func (w *World) accessKeysEnabled() error { return w.cache.EnableAccessKeys() }

func (w *World) unassigned() error { return w.cache.Unassign(w.app.ObjectID) }

func (w *World) issuerFailsOnce(status int) error {
	w.entra.Fail(fakeentra.Fault{Endpoint: fakeentra.EndpointToken, Status: status, Times: 1})
	return nil
}

func (w *World) issuerGoesDown() error {
	w.entra.SetOutage(true)
	return nil
}

func (w *World) issuerIsBack() error {
	w.entra.SetOutage(false)
	return nil
}

// pollDivisor is how often an application tries again within the time that a step gives a client to come back.
const pollDivisor = 40

func (w *World) succeedsWithin(minutes int, command string) error {
	deadline := w.clock.Now().Add(w.lane.Patience(w.grace(minutes)))
	for {
		if err := w.triesToRun(command); err != nil {
			return err
		}
		if w.last.err == nil {
			return nil
		}
		if w.clock.Now().After(deadline) {
			return expect(fmt.Sprintf("%s to succeed within %d minutes", command, minutes), "%s", w.last)
		}
		if err := w.wait(w.lane.Patience(w.grace(minutes) / pollDivisor)); err != nil {
			return err
		}
	}
}

// issuerKeepsBack lets the issuer keep its answers until the client has been closed.
func (w *World) issuerKeepsBack() error {
	const forEver = 100 * 365 * 24 * time.Hour
	var err error
	w.keptBack, err = w.entra.AddFault(fakeentra.Fault{Endpoint: fakeentra.EndpointAny, Action: fakeentra.FaultSlow, Delay: forEver})
	return err
}

// tokenAskedAgain waits until the issuer has a request that it has not answered. A library that has not asked within a token's life
// never will.
func (w *World) tokenAskedAgain() error {
	if w.keptBack == nil {
		return errors.New("the step needs an issuer that keeps its answers back")
	}
	deadline := w.clock.After(w.span(75))
	for w.keptBack.Fired() == 0 {
		select {
		case <-deadline:
			return expect("another request to the issuer within the token's life", "none")
		case <-time.After(askedPoll):
		case <-w.ctx.Done():
			return w.ctx.Err()
		}
	}
	return nil
}

// askedPoll is on the wall clock in every lane, as a library's patience with the issuer is: some have no more than a second.
const askedPoll = 20 * time.Millisecond

// closingTime is what a library may take to close before the issuer answers, on the wall clock. One that takes longer waits for that
// answer.
const closingTime = time.Second

// closedBeforeTheAnswer closes the client, and lets the issuer answer then.
func (w *World) closedBeforeTheAnswer() error {
	if w.keptBack == nil {
		return errors.New("the step needs an issuer that keeps its answers back")
	}
	closed := make(chan error, 1)
	go func() { closed <- w.clientIsClosed() }()
	var err error
	select {
	case err = <-closed:
		w.keptBack.Remove()
	case <-time.After(closingTime):
		w.keptBack.Remove()
		err = <-closed
	}
	return err
}

func (w *World) clientIsClosed() error {
	reply, err := w.call(protocol.Close(w.client))
	if err != nil {
		return err
	}
	w.opened, w.closedAt = false, w.clock.Now()
	if !reply.OK {
		return expect("the client to close", "close failed: %s", reply.Error.Error())
	}
	return nil
}
