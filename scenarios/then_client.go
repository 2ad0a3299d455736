package scenarios

import (
	"fmt"
	"strings"
	"time"
)

func (w *World) commandSucceeds() error {
	if w.last.err != nil {
		return expect(w.last.command+" to succeed", "%s", w.last)
	}
	return nil
}

func (w *World) commandAnswers(text string) error {
	if w.last.err != nil || w.last.value.Plain() != text {
		return expect(fmt.Sprintf("%s to answer %q", w.last.command, text), "%s", w.last)
	}
	return nil
}

func (w *World) commandFails() error {
	if w.last.err == nil {
		return expect(w.last.command+" to fail with an error that reaches the caller", "%s", w.last)
	}
	return nil
}

func (w *World) commandFailsWith(text string) error {
	if w.last.err == nil || !strings.Contains(w.last.err.Message+" "+w.last.err.Code, text) {
		return expect(fmt.Sprintf("%s to fail with %q", w.last.command, text), "%s", w.last)
	}
	return nil
}

func (w *World) everyCommandSucceeded() error {
	var faults []string
	for _, o := range w.results {
		if o.err != nil {
			faults = append(faults, fmt.Sprintf("at %s %s", w.at(o.at), o))
		}
	}
	if len(faults) > 0 {
		return expect("every command to succeed", "%d of %d failed: %s", len(faults), len(w.results), join(faults))
	}
	if len(w.results) == 0 {
		return fmt.Errorf("the step speaks of commands, but none was run before it")
	}
	return nil
}

func (w *World) subscriberReceived(message string) error {
	arrived, err := w.receives(message, long)
	if err == nil && !arrived {
		return expect(fmt.Sprintf("the subscriber to receive %q", message), "it has received %s", w.received())
	}
	return err
}

// messageReachesSubscriber publishes again and again, since a message that is published while nobody is subscribed is lost by
// design.
func (w *World) messageReachesSubscriber(minutes int, message, channel string) error {
	deadline := w.clock.Now().Add(w.lane.Patience(w.grace(minutes)))
	for w.clock.Now().Before(deadline) {
		if err := w.published(message, channel); err != nil {
			return err
		}
		arrived, err := w.receives(message, w.grace(minutes)/pollDivisor)
		if arrived || err != nil {
			return err
		}
	}
	return expect(fmt.Sprintf("%q published on %q to reach the subscriber within %d minutes", message, channel, minutes), "it has received %s", w.received())
}

func (w *World) received() string {
	messages := w.messages()
	if len(messages) == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%q", messages)
}

// grace is how long a step that waits for a client to come back waits on the wall clock.
func (w *World) grace(n int) time.Duration { return w.lane.grace(n, w.driver.Hello().Limits) }

// applicationLivesOn asks the driver for anything at all. A process that ended is turned into a verdict on the library by [Run].
func (w *World) applicationLivesOn() error { return w.driver.LiarProbe(w.ctx) }
