package driver

import (
	"context"
	"fmt"
	"time"

	"github.com/entracache/entracache/scenarios/protocol"
)

// Stop ends the driver: it asks for shutdown and closes standard input, and after the grace each sends SIGTERM and then
// SIGKILL to the process group. The error is a [*DriverError] if the driver had broken before, did not end by itself, or ended
// with another status than 0. The driver is gone in any case, and Stop may be called again. It takes at most four times the
// grace.
func (d *Driver) Stop() error {
	d.stop.Do(func() { d.stopErr = d.end(true) })
	return d.stopErr
}

// stopByEOF is Stop without asking: the end of standard input must be enough.
func (d *Driver) stopByEOF() error {
	d.stop.Do(func() { d.stopErr = d.end(false) })
	return d.stopErr
}

// abort ends a driver that is of no more use.
func (d *Driver) abort() {
	d.stop.Do(func() {
		d.markStopping()
		d.process.kill()
		d.await(d.options.Grace)
		d.finish()
		d.stopErr = d.fault("was stopped", nil)
	})
}

func (d *Driver) end(ask bool) error {
	grace := d.options.Grace
	broken := d.Err()
	d.markStopping()
	problem := ""
	if broken == nil && ask {
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		reply, err := d.call(ctx, protocol.Shutdown())
		cancel()
		switch {
		case err != nil:
			problem = fmt.Sprintf("did not answer shutdown within %s", grace)
		case !reply.OK:
			problem = "answered shutdown with " + d.redact.Show([]byte(reply.Error.Error()))
		}
	}
	_ = d.process.stdin().Close()
	if !d.await(grace) {
		problem = fmt.Sprintf("still ran %s after shutdown and the end of its standard input", grace)
		d.process.terminate()
		if !d.await(grace) {
			d.process.kill()
			problem += ", and after SIGTERM"
			if !d.await(grace) {
				problem += ", and cannot be ended: it waits for something other than its context or its pipes"
			}
		}
	} else if status := d.process.status(); status != "" && problem == "" {
		problem = fmt.Sprintf("ended with %s where 0 was expected", d.redact.Show([]byte(status)))
	}
	d.finish()
	switch {
	case d.Err() != nil: // what broke it, before or while stopping, comes first
		return d.Err()
	case problem != "":
		return d.fault(problem+d.lastWords(), nil)
	}
	return nil
}

func (d *Driver) markStopping() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopping = true
}

func (d *Driver) await(bound time.Duration) bool {
	select {
	case <-d.process.exited():
		return true
	case <-time.After(bound):
		return false
	}
}

// finish waits until everything that the driver printed has been handled, and lets go of those who still wait.
func (d *Driver) finish() {
	patience := time.After(2 * drainTime)
	for _, done := range []<-chan struct{}{d.gone, d.stderrDone} {
		select {
		case <-done:
		case <-patience:
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !isClosed(d.broken) {
		close(d.broken)
	}
}
