package scenarios

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/entracache/entracache/scenarios/protocol"
)

// The steps about a worker: a part of the application that takes one job after the other from a list, with a command that waits.

// worker is what it has seen so far.
type worker struct {
	end   context.CancelFunc
	ended sync.WaitGroup
	put   int // jobs

	mu     sync.Mutex
	jobs   []string
	failed []outcome
}

// workerWait is, on the wall clock, how long a command of a worker waits that waits a little: whole seconds, which every library knows to
// wait, and fewer than the client is told to wait for an answer. Some libraries hold that against a command that waits, too.
const workerWait = time.Second

func (w *World) workerWaits(key string) error {
	return w.startWorker(key, int(w.lane.Patience(workerWait).Seconds()))
}

func (w *World) workerWaitsForEver(key string) error { return w.startWorker(key, 0) }

// startWorker returns once the worker's first command waits in the cache.
func (w *World) startWorker(key string, seconds int) error {
	failed, err := w.ensureOpen()
	if err != nil {
		return err
	}
	if failed != nil {
		return expect("the client to wait for a job", "open failed: %s", failed.Error())
	}
	ctx, cancel := context.WithCancel(w.ctx)
	w.worker = &worker{end: cancel}
	w.worker.ended.Go(func() { w.work(ctx, key, seconds) })
	const poll = 5 * time.Millisecond // no event tells of a command that blocks
	deadline := time.After(long)
	for !w.workerBlocks() {
		select {
		case <-deadline:
			return expect("BLPOP to wait in the cache", "it does not")
		case <-w.clock.After(w.lane.Patience(poll)):
		case <-w.ctx.Done():
			return w.ctx.Err()
		}
	}
	return nil
}

func (w *World) workerBlocks() bool {
	for _, c := range w.cache.Connections() {
		if c.Blocked {
			return true
		}
	}
	return false
}

// work is what an application's worker does: it takes jobs, and when a command fails it tries again a little later.
func (w *World) work(ctx context.Context, key string, seconds int) {
	const pause = 200 * time.Millisecond
	command := fmt.Sprintf("BLPOP %s %d", key, seconds)
	for ctx.Err() == nil {
		o := outcome{command: command, at: w.clock.Now()}
		w.note("driver", "← "+command)
		// Not through call, for it may take longer than other calls.
		reply, err := w.driver.Call(ctx, protocol.Command(w.client, "BLPOP", key, fmt.Sprint(seconds)))
		if ctx.Err() != nil {
			return
		}
		w.note("driver", "→ "+command+": "+describeReply(reply, err))
		o.value, o.err = reply.Value, reply.Error
		if err != nil { // of the driver; other steps meet it, too
			return
		}
		w.worker.saw(o)
		if o.err != nil {
			select {
			case <-w.clock.After(w.lane.Patience(pause)):
			case <-ctx.Done():
			}
		}
	}
}

func (k *worker) saw(o outcome) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case o.err != nil:
		k.failed = append(k.failed, o)
	case len(o.value.Items) == 2:
		k.jobs = append(k.jobs, o.value.Items[1].Plain())
	}
}

func (k *worker) seen() (jobs []string, failed []outcome) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.jobs), slices.Clone(k.failed)
}

func jobName(i int) string { return fmt.Sprintf("job %d", i+1) }

func (w *World) jobsArePut(n int, key string) error {
	if w.worker == nil {
		return fmt.Errorf("the step speaks of jobs, but there is no worker")
	}
	for i := range n {
		if _, err := w.cache.Do("RPUSH", key, jobName(w.worker.put+i)); err != nil {
			return err
		}
	}
	w.worker.put += n
	return nil
}

// workerHasJobs gives a job that comes twice a moment to do so.
func (w *World) workerHasJobs(minutes int) error {
	expected := fmt.Sprintf("the worker to have %d jobs within %d minutes, each once", w.worker.put, minutes)
	deadline := w.clock.Now().Add(w.lane.Patience(w.grace(minutes)))
	for {
		jobs, failed := w.worker.seen()
		if len(jobs) >= w.worker.put {
			break
		}
		if w.clock.Now().After(deadline) {
			last := ""
			if len(failed) > 0 {
				last = "; its last failure: " + failed[len(failed)-1].String()
			}
			return expect(expected, "%d: %q%s", len(jobs), jobs, last)
		}
		if err := w.wait(w.lane.Patience(w.grace(minutes) / pollDivisor)); err != nil {
			return err
		}
	}
	if err := w.wait(w.lane.Patience(moment)); err != nil {
		return err
	}
	jobs, _ := w.worker.seen()
	slices.Sort(jobs)
	var want []string
	for i := range w.worker.put {
		want = append(want, jobName(i))
	}
	slices.Sort(want)
	if !slices.Equal(jobs, want) {
		return expect(expected, "%q", jobs)
	}
	return nil
}

func (w *World) workerNeverFailed() error {
	if w.worker == nil {
		return fmt.Errorf("the step speaks of a worker, but there is none")
	}
	_, failed := w.worker.seen()
	var faults []string
	for _, o := range failed {
		faults = append(faults, fmt.Sprintf("at %s %s", w.at(o.at), o))
	}
	if len(faults) > 0 {
		return expect("no command of the worker to fail", "%d failed: %s", len(faults), join(faults))
	}
	return nil
}
