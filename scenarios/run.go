package scenarios

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/entracache/entracache/scenarios/driver"
	"github.com/entracache/entracache/scenarios/protocol"
	"github.com/entracache/entracache/scenarios/report"
)

// Subject is a client driver that has been started.
type Subject struct {
	// Name is the column in the matrix.
	Name   string
	Driver *driver.Driver
	// Lane is the one that it is played in.
	Lane Lane
	// Known are the scenarios that the library is known to fail, Flaky those that it fails now and then.
	Known, Flaky driver.KnownFailures
	// OtherVersion says that the lists are about another version of the library: what is on them may well pass.
	OtherVersion bool
	// Fresh starts another process of the same driver, for scenarios that want one for themselves. env is laid over its environment.
	Fresh func(ctx context.Context, env map[string]string) (*driver.Driver, error)
}

// Run plays scenarios against subjects.
type Run struct {
	// Parallel is how many scenarios play at once, over all subjects. 0 means [DefaultParallel], and in the virtual lane
	// [DefaultVirtualParallel].
	Parallel int
	// Again gives the command that plays one scenario for one subject again. May be nil.
	Again func(subject, scenario string) string
	// Artefact names the file to which the caller will write the timeline of a scenario. May be nil.
	Artefact func(subject, scenario string) string
	// Progress is called with each result as it comes, from one goroutine at a time. May be nil.
	Progress func(done, total int, r report.Result)
	// Plays is how often a scenario is played at most until its verdict counts: one that nobody expects is played again, and the verdict
	// counts that more than half of the plays can give. 0 and 1 mean that the first play counts.
	Plays int
	// Replaying is called when so many scenarios are about to be played again because of their verdict. May be nil.
	Replaying func(n int)
	// KeepTimelines keeps the timeline of scenarios that passed, too.
	KeepTimelines bool
	// Patience is when a call to a driver counts as hanging, on the wall clock. 0 means [DefaultPatience].
	Patience time.Duration

	ports    ports
	starting chan struct{} // holds one while a process starts for one scenario; see turnToStart
}

// DefaultParallel is enough to make waiting the smaller part of a run on two cores, and little enough for a client's timers to be
// served in time.
const DefaultParallel = 24

// DefaultVirtualParallel is the same for the virtual lane, where time passes seven times more slowly than in the scaled one, and clients wait
// for longer.
const DefaultVirtualParallel = 48

// DefaultPatience is when a caller has been left in silence: a library may retry within its own timeouts for a while.
const DefaultPatience = 45 * time.Second

// startGap keeps apart the starts of scenarios that play in a slower lane than the scaled one at its own speed. They can wait, and a
// library that needs a slower lane has timeouts in seconds of the wall clock: when two dozen clients sign in at once on two cores, they
// run out; in the virtual lane what they wait for each other is minutes.
const startGap = 200 * time.Millisecond

// maxProcesses is how many processes of one driver a run uses before it lets what they took down stand.
const maxProcesses = 3

// calm divides how many scenarios play at once when verdicts are played again: a machine that is too busy is one cause of wrong ones.
const calm = 4

// job is one scenario to be played against one subject.
type job struct {
	subject  *Subject
	scenario *Scenario
	client   string          // the client's name in the driver's process
	plays    []report.Result // those before, whose verdict was not believed
}

// Play plays every scenario against every subject and hands each result to the report as it comes. It returns once all have ended,
// or the context has: what had not begun by then is reported as not run. One lane is played after the other, so that the load of one is
// not taken for slowness in another.
//
// A library may take its whole process down, and with it scenarios that have nothing to do with it: these are played again in a fresh
// process. The returned lines tell of each process that ended, for the report. What was not expected is played again at the end, fewer
// at once, as often as Plays says.
func (run *Run) Play(ctx context.Context, scenarios []*Scenario, subjects []*Subject, out *report.Writer) (crashes []string) {
	run.starting = make(chan struct{}, 1)
	var mu sync.Mutex
	done, total := 0, len(scenarios)*len(subjects)
	finish := func(r report.Result) {
		mu.Lock()
		defer mu.Unlock()
		out.Result(r)
		done++
		if run.Progress != nil {
			run.Progress(done, total, r)
		}
	}
	var played []Lane
	for _, subject := range subjects {
		if slices.Contains(played, subject.Lane) {
			continue
		}
		played = append(played, subject.Lane)
		in := slices.DeleteFunc(slices.Clone(subjects), func(s *Subject) bool { return s.Lane != subject.Lane })
		crashes = append(crashes, run.playLane(ctx, subject.Lane, scenarios, in, finish)...)
	}
	return crashes
}

// playLane plays the scenarios against the subjects of one lane.
func (run *Run) playLane(ctx context.Context, lane Lane, scenarios []*Scenario, subjects []*Subject, finish func(report.Result)) (crashes []string) {
	var jobs []job
	// The longest first, so that the last to end is not one that began last; the subjects in turn.
	ordered := slices.Clone(scenarios)
	slices.SortStableFunc(ordered, func(a, b *Scenario) int { return int(b.limit(lane) - a.limit(lane)) })
	for _, s := range ordered {
		for _, subject := range subjects {
			jobs = append(jobs, job{subject: subject, scenario: s, client: fmt.Sprintf("c-%d", len(jobs)+1)})
		}
	}
	run.warmUp(ctx, subjects)
	parallel := run.parallel(lane)
	processes := 1
	var doubtful []job
	for len(jobs) > 0 {
		lost, unsettled := run.round(ctx, lane, jobs, len(scenarios) == 1, parallel, processes < maxProcesses, finish)
		doubtful = append(doubtful, unsettled...)
		for _, subject := range subjects {
			err := subject.Driver.Err()
			if err == nil || !slices.ContainsFunc(lost, func(j job) bool { return j.subject == subject }) {
				continue
			}
			crashes = append(crashes, fmt.Sprintf("%s: a process ended while scenarios were playing, which were then played again: %v", subject.Name, err))
			if d, err := subject.Fresh(ctx, nil); err == nil {
				subject.Driver = d
			} // otherwise the old one goes on to say why it cannot be used
		}
		if len(lost) > 0 {
			processes++
			jobs = lost
			continue
		}
		jobs, doubtful = doubtful, nil
		parallel = max(1, run.parallel(lane)/calm)
		for i := range jobs {
			jobs[i].client += "-again"
		}
		if len(jobs) > 0 && run.Replaying != nil {
			run.Replaying(len(jobs))
		}
	}
	return crashes
}

func (run *Run) parallel(lane Lane) int {
	switch {
	case run.Parallel > 0:
		return run.Parallel
	case lane.virtual != nil:
		return DefaultVirtualParallel
	default:
		return DefaultParallel
	}
}

// slowLaneParallel is how many times as many scenarios play at once in a slower lane than in the run's own: they wait most of the time.
const slowLaneParallel = 4

// round plays the jobs side by side. With again set it does not finish, but returns, those that were lost with their driver's process. It
// returns as well those whose verdict takes another play.
func (run *Run) round(ctx context.Context, lane Lane, jobs []job, alone bool, parallel int, again bool, finish func(report.Result)) (lost, unsettled []job) {
	var mu sync.Mutex
	play := func(j job) {
		r := run.one(ctx, j.scenario, j.subject, j.client, alone || parallel == 1)
		if again && ctx.Err() == nil && r.Status.Broken() && j.subject.Driver.Err() != nil && j.subject.Fresh != nil {
			mu.Lock()
			defer mu.Unlock()
			lost = append(lost, j)
			return
		}
		if r.Status == report.NotRun && len(j.plays) > 0 {
			finish(j.plays[len(j.plays)-1]) // what was seen already is not lost with the rest of the run
			return
		}
		j.plays = append(j.plays, r)
		if r, settled := run.settle(j); settled || ctx.Err() != nil || j.subject.Driver.Err() != nil {
			finish(r)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		unsettled = append(unsettled, j)
	}
	var own, slower []job
	for _, j := range jobs {
		if lane.For(j.subject.Driver.Hello().Limits) == lane {
			own = append(own, j)
		} else {
			slower = append(slower, j)
		}
	}
	ownGap := time.Duration(0)
	if lane.Name != "scaled" {
		ownGap = startGap
	}
	if parallel == 1 { // then it is one, whatever the lane
		sideBySide(ctx, append(own, slower...), 1, ownGap, play)
		return lost, unsettled
	}
	var wg sync.WaitGroup
	wg.Go(func() { sideBySide(ctx, own, parallel, ownGap, play) })
	wg.Go(func() { sideBySide(ctx, slower, slowLaneParallel*parallel, startGap, play) })
	wg.Wait()
	return lost, unsettled
}

// settle gives the verdict of the plays so far, and whether it counts: whether it was expected, or no further play could outvote it.
func (run *Run) settle(j job) (report.Result, bool) {
	last := j.plays[len(j.plays)-1]
	if len(j.plays) == 1 && !surprising(last, j.scenario) {
		return last, true
	}
	agreed := map[report.Verdict]int{}
	for _, r := range j.plays {
		agreed[r.Status.Verdict()]++
	}
	for _, r := range slices.Backward(j.plays) {
		if n := agreed[r.Status.Verdict()]; 2*n > run.Plays || len(j.plays) >= run.Plays && n == slices.Max(slices.Collect(maps.Values(agreed))) {
			if len(j.plays) > 1 {
				r.Plays, r.Agreed = len(j.plays), n
			}
			return r, true
		}
	}
	return last, false
}

// surprising tells whether nobody expects the result: it is neither as asked nor on a list.
func surprising(r report.Result, s *Scenario) bool {
	switch r.Status {
	case report.Fail, report.XPass, report.Error, report.HarnessError, report.Timeout:
		return true
	case report.Warn:
		return s.Level != report.Info // that is a measurement
	default:
		return false
	}
}

// sideBySide plays the jobs, so many at once, and keeps their starts apart by the gap, until the context ends.
func sideBySide(ctx context.Context, jobs []job, parallel int, gap time.Duration, play func(job)) {
	slots := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for _, j := range jobs {
		slots <- struct{}{}
		select {
		case <-time.After(gap):
		case <-ctx.Done():
		}
		wg.Go(func() {
			defer func() { <-slots }()
			play(j)
		})
	}
	wg.Wait()
}

// warmUp warms the drivers of all subjects side by side.
func (run *Run) warmUp(ctx context.Context, subjects []*Subject) {
	var wg sync.WaitGroup
	for i, subject := range subjects {
		wg.Go(func() { run.warm(ctx, subject.Lane, subject.Driver, fmt.Sprintf("warm-up-%d", i+1)) })
	}
	wg.Wait()
}

// warm lets a library sign in and run a command once, against a world that nobody judges: loading a language's TLS and JSON code takes
// seconds that would otherwise pass as minutes of the first scenario, or outlast a library's timeout for a token request.
func (run *Run) warm(ctx context.Context, lane Lane, d *driver.Driver, client string) {
	patience := min(long, cmp.Or(run.Patience, DefaultPatience))
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	w := newWorld(ctx, lane.For(d.Hello().Limits), &Scenario{ID: "warm-up"}, d, client)
	w.ports, w.patience = &run.ports, patience
	// Whatever goes wrong here goes wrong again where it is judged.
	if w.aCache() == nil && w.aServicePrincipal("Data Owner") == nil {
		_, _ = w.doLine("PING")
	}
	_ = w.close()
}

// one plays one scenario against one subject.
func (run *Run) one(ctx context.Context, s *Scenario, subject *Subject, client string, alone bool) report.Result {
	lane := subject.Lane.For(subject.Driver.Hello().Limits)
	r := report.Result{Driver: subject.Name, Scenario: s.ID}
	if run.Again != nil {
		r.Again = run.Again(subject.Name, s.ID)
	}
	known := subject.Known.Match(s.ID)
	if missing := s.missing(subject.Driver); missing != "" {
		r.Status, r.Reason = report.Skip, "does not declare "+string(missing)
		return r
	}
	if s.Lane != "" && s.Lane != lane.Name {
		r.Status, r.Reason = report.Skip, fmt.Sprintf("is played in the %s lane only", s.Lane)
		return r
	}
	if err := ctx.Err(); err != nil {
		r.Status, r.Reason = report.NotRun, "the run was ended before its turn"
		return r
	}
	if err := subject.Driver.Err(); err != nil {
		r.Status, r.Reason = report.NotRun, "the driver had broken before its turn: "+err.Error()
		return r
	}
	d, started := subject.Driver, func() {}
	if s.OwnProcess {
		var err error
		if started, err = run.turnToStart(ctx); err != nil {
			r.Status, r.Reason = report.NotRun, "the run was ended before its turn"
			return r
		}
		defer started()
	}
	if s.OwnProcess && !s.ownEnvironment() {
		var err error
		d, err = run.ownProcess(ctx, subject, client, nil)
		started()
		if err != nil {
			r.Status, r.Reason = report.Error, err.Error()
			return r
		}
	}
	limit := s.limit(lane)
	playCtx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	w := newWorld(playCtx, lane, s, d, client)
	w.ports = &run.ports
	w.patience = cmp.Or(run.Patience, DefaultPatience)
	w.alone = alone || s.OwnProcess
	if s.ownEnvironment() {
		w.launch = func(env map[string]string) (*driver.Driver, error) {
			defer started()
			return run.ownProcess(ctx, subject, client, env)
		}
	}
	began := time.Now()
	failed := play(w)
	r.Duration = time.Since(began)
	if d = w.driver; d != subject.Driver {
		defer func() { _ = d.Stop() }() // if it broke, the verdict says so already
	}
	if failed != nil && s.OwnProcess && d.Err() != nil {
		failed.err = expect("the application to live on", "its process ended: %s", d.Err())
	}
	run.judge(&r, s, failed, playCtx, limit)
	missed := r.Status == report.Fail || r.Status == report.Warn
	if flaky := subject.Flaky.Match(s.ID); flaky != nil && (missed || r.Status == report.Pass) {
		r.Status, r.Reason = report.FlakyPass, flaky.Reason
		if missed {
			r.Status = report.FlakyFail
		}
	} else if known != nil && missed {
		r.Status, r.Reason = report.XFail, known.Reason
	} else if known != nil && r.Status == report.Pass && !subject.OtherVersion {
		r.Status = report.XPass
		r.Reason = fmt.Sprintf("%s:%d lists it as a known failure (%s), but it passed: remove the line", known.File, known.Line, known.Reason)
	}
	if r.Status != report.Pass || run.KeepTimelines {
		r.Timeline = w.timeline()
		if run.Artefact != nil {
			r.Artefact = run.Artefact(subject.Name, s.ID)
		}
	}
	// What is wrong already, known or not, is not made worse by a client that cannot be closed any more.
	if err := w.close(); err != nil && r.Status == report.Pass {
		r.Status, r.Reason = blame(err), "closing the scenario: "+err.Error()
	}
	return r
}

// turnToStart waits until a process may start, which ends with started. One starts at a time: already two at once on two cores keep the
// scenarios that play from being served in time. A scenario waits before its own time begins.
func (run *Run) turnToStart(ctx context.Context) (started func(), err error) {
	select {
	case run.starting <- struct{}{}:
		return sync.OnceFunc(func() { <-run.starting }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ownProcess starts and warms another process of the subject's driver.
func (run *Run) ownProcess(ctx context.Context, subject *Subject, client string, env map[string]string) (*driver.Driver, error) {
	d, err := subject.Fresh(ctx, env)
	if err != nil {
		return nil, fmt.Errorf("the driver did not start once more: %w", err)
	}
	run.warm(ctx, subject.Lane, d, client+"-warm-up")
	return d, nil
}

// missing is a capability that the scenario needs and the driver lacks, or "".
func (s *Scenario) missing(d *driver.Driver) protocol.Capability {
	for _, need := range s.Needs {
		if !d.Declares(need) {
			return need
		}
	}
	return ""
}

// PlayableBy tells whether the driver declares all that the scenario needs.
func (s *Scenario) PlayableBy(d *driver.Driver) bool { return s.missing(d) == "" }

// judge turns how the scenario ended into a status.
func (run *Run) judge(r *report.Result, s *Scenario, failed *failure, ctx context.Context, limit time.Duration) {
	if failed == nil {
		r.Status = report.Pass
		return
	}
	r.Step, r.StepLine = failed.step.Text, failed.step.Line
	m, isMismatch := asMismatch(failed.err)
	switch {
	case isMismatch:
		r.Expected, r.Actual = m.expected, m.actual
		r.Status = report.Fail
		if s.Level != report.Must {
			r.Status = report.Warn
		}
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		r.Status, r.Reason = report.Timeout, fmt.Sprintf("did not end within %s on the wall clock: %v", limit, failed.err)
	case ctx.Err() != nil:
		r.Status, r.Reason = report.NotRun, "the run was ended while it played"
	default:
		r.Status, r.Reason = blame(failed.err), failed.err.Error()
	}
}

// blame tells an error of the driver from one of the harness.
func blame(err error) report.Status {
	var driverError *driver.DriverError
	var fault *driverFault
	if errors.As(err, &driverError) || errors.As(err, &fault) {
		return report.Error
	}
	return report.HarnessError
}
