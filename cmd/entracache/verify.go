package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/entracache/entracache/features"
	"github.com/entracache/entracache/scenarios"
	"github.com/entracache/entracache/scenarios/driver"
	"github.com/entracache/entracache/scenarios/report"
)

type verifyCmd struct {
	Client []string `arg:"" optional:"" help:"Folder names under the clients folder, or exec:COMMAND for a driver of your own. None: every client whose runtime is present."`

	Scenario []string `help:"Only scenarios whose id matches this glob (may be repeated)." placeholder:"GLOB" sep:"none"`
	Tags     string   `help:"Only scenarios whose tags satisfy this expression, such as \"@must and not @needs:pool\"." placeholder:"EXPR"`
	Lane     string   `help:"How the durations of the features map to the wall clock: scaled, virtual or real." default:"scaled" placeholder:"scaled|virtual|real"`
	Speed    float64  `help:"How many times faster than real life the lane runs. Default ${default_speed} in the scaled lane, ${default_virtual_speed} in the virtual one." placeholder:"N"`
	Faketime string   `help:"libfaketime.so.1, for the virtual lane. Default: where distributions install it." placeholder:"FILE"`
	Parallel int      `help:"How many scenarios play at once. Default ${default_parallel}." placeholder:"N"`
	Plays    int      `help:"How often a scenario is played at most until its verdict counts. What is neither as asked nor on the client's lists is played again, fewer at once, and what most plays say counts. 1: the first play counts." default:"3" placeholder:"N"`
	Shard    string   `help:"Play only the I-th of N parts of the scenarios." placeholder:"I/N"`
	Out      string   `help:"Folder for report.jsonl, junit.xml and the timelines of what did not pass." default:"entracache-report" placeholder:"DIR"`
	List     bool     `help:"List the scenarios and exit."`
	Steps    bool     `help:"List the step vocabulary of the features and exit."`
	Trace    bool     `help:"Show the timeline of every scenario, passed ones too."`
	Clients  string   `help:"Folder that holds the client folders." default:"clients" placeholder:"DIR"`
	Features string   `help:"Folder with feature files and requirements.yaml to use instead of the built-in ones." placeholder:"DIR"`
	Cache    string   `help:"Folder in which drivers are prepared. Default: entracache/drivers in your cache folder." placeholder:"DIR" env:"ENTRACACHE_DRIVER_CACHE"`
	Require  string   `help:"With \"all\", a client that cannot be run for want of its runtime is an error." enum:",all" default:"" placeholder:"all"`

	lane scenarios.Lane
}

// notHere are client libraries of the specification that this checkout has no driver for.
var notHere = []report.Driver{
	{Name: "StackExchange.Redis", NotRun: "needs .NET: its driver is still to come"},
}

func (c *verifyCmd) Run(ctx context.Context, std streams) error {
	lane, err := scenarios.NewLane(c.Lane, c.Speed)
	if err != nil {
		return usageError(err)
	}
	c.lane = lane
	defer lane.Close() //nolint:errcheck // two small files at worst
	var fsys fs.FS = features.FS
	if c.Features != "" {
		fsys = os.DirFS(c.Features)
	}
	catalogue, err := scenarios.Load(fsys)
	if err != nil && c.Features != "" {
		err = fmt.Errorf("--features %s: %w", c.Features, err)
	}
	if err != nil {
		return usageError(err)
	}
	if c.Steps {
		return listSteps(std.out)
	}
	selected, err := c.selected(catalogue)
	if err != nil {
		return usageError(err)
	}
	if c.List {
		return listScenarios(std.out, selected)
	}
	if selected, err = scenarios.ForLane(selected, lane.Name, len(c.Scenario) > 0 || c.Tags != ""); err != nil {
		return usageError(err)
	}
	return c.verify(ctx, std, lane, catalogue, fsys, selected)
}

func (c *verifyCmd) selected(catalogue *scenarios.Catalogue) ([]*scenarios.Scenario, error) {
	selected, err := catalogue.Select(c.Scenario, c.Tags)
	if err != nil || c.Shard == "" {
		return selected, err
	}
	var i, n int
	if _, err := fmt.Sscanf(c.Shard, "%d/%d", &i, &n); err != nil || fmt.Sprintf("%d/%d", i, n) != c.Shard || i < 1 || i > n {
		return nil, fmt.Errorf("--shard %q: expected I/N with I from 1 to N, such as 1/4", c.Shard)
	}
	var part []*scenarios.Scenario
	for k, s := range selected {
		if k%n == i-1 {
			part = append(part, s)
		}
	}
	if len(part) == 0 {
		return nil, fmt.Errorf("--shard %s: there are only %d scenarios to share out", c.Shard, len(selected))
	}
	return part, nil
}

// filtered tells whether only a part of the scenarios plays: then a known failure that is not met proves nothing.
func (c *verifyCmd) filtered() bool { return len(c.Scenario) > 0 || c.Tags != "" || c.Shard != "" }

func (c *verifyCmd) verify(ctx context.Context, std streams, lane scenarios.Lane, catalogue *scenarios.Catalogue, fsys fs.FS, selected []*scenarios.Scenario) error {
	start := time.Now()
	say := newProgress(std.err, start)
	clients, err := c.candidates()
	if err != nil {
		return usageError(err)
	}
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return usageError(fmt.Errorf("--out: %w", err))
	}
	file, err := os.Create(filepath.Join(c.Out, "report.jsonl"))
	if err != nil {
		return usageError(fmt.Errorf("--out: %w", err))
	}
	defer file.Close()
	host, _ := os.Hostname()
	out := report.NewWriter(file, report.Run{
		Version: version(), FeatureSet: catalogue.Set, FeatureHash: hash(fsys), Start: start, Host: host,
		Lane: lane.Name, Speed: lane.Speed, Parallel: c.Parallel, Filters: c.filters(),
	})
	for _, s := range selected {
		out.Scenario(s.Report())
	}

	bundle, err := trustBundle(c.Out)
	if err != nil {
		return err
	}
	subjects, stop := c.start(ctx, say, clients, bundle, out)
	defer stop()
	if len(c.Client) == 0 {
		for _, d := range notHere {
			out.Driver(d)
		}
	}

	if len(subjects) > 0 {
		say("playing %d scenarios against %d client(s), %s lane, an hour in %s", len(selected), len(subjects), lane.Name, lane.Wall(time.Hour).Round(time.Millisecond))
	}
	for _, s := range subjects {
		if own := lane.For(s.Driver.Hello().Limits); own.Speed < lane.Speed {
			say("%s asks for tokens that live longer: for it, an hour takes %s", s.Name, own.Wall(time.Hour).Round(time.Second))
		}
	}
	run := &scenarios.Run{
		Lane: lane, Parallel: c.Parallel, KeepTimelines: c.Trace, Plays: c.Plays,
		Replaying: func(n int) { say("nobody expected %d of the verdicts: playing them again", n) },
		Again: func(subject, scenario string) string {
			return fmt.Sprintf("go run ./cmd/entracache verify %s --scenario %s --trace%s", c.argumentOf(subject), scenario, c.laneFlags())
		},
		Artefact: func(subject, scenario string) string { return filepath.Join(c.Out, subject, scenario, "timeline.txt") },
		Progress: func(done, total int, r report.Result) {
			say("[%*d/%d] %-7s %s %s (%.1fs)", len(fmt.Sprint(total)), done, total, r.Status, r.Driver, r.Scenario, r.Duration.Seconds())
		},
	}
	var crashes []string
	if len(subjects) > 0 {
		crashes = run.Play(ctx, selected, subjects, out)
	}
	result, err := out.End(report.End{
		Complete: ctx.Err() == nil, Duration: time.Since(start), Stale: c.stale(catalogue, subjects), Crashes: crashes,
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", file.Name(), err)
	}
	if err := c.finish(std, result); err != nil {
		return err
	}
	if len(subjects) == 0 {
		return errors.New("no client was run: see above why; `entracache doctor CLIENT` checks a driver step by step")
	}
	if code := result.End.Exit; code != exitExpected {
		return &exitError{code: code}
	}
	return nil
}

// laneFlags repeat how time was mapped, where it was not the default.
func (c *verifyCmd) laneFlags() string {
	flags := ""
	if c.Lane != "scaled" {
		flags += " --lane " + c.Lane
	}
	if c.Speed != 0 {
		flags += fmt.Sprintf(" --speed %g", c.Speed)
	}
	if c.Faketime != "" {
		flags += " --faketime " + c.Faketime
	}
	return flags
}

func (c *verifyCmd) filters() []string {
	filters := slices.Clone(c.Scenario)
	for _, f := range []string{c.Tags, c.Shard} {
		if f != "" {
			filters = append(filters, f)
		}
	}
	return filters
}

func (c *verifyCmd) argumentOf(subject string) string {
	for _, arg := range c.Client {
		if strings.HasPrefix(arg, driver.ExecPrefix) && len(c.Client) == 1 {
			return "'" + arg + "'"
		}
	}
	return subject
}

// candidate is a client that was asked for: a folder or a command.
type candidate struct {
	name   string
	config *driver.Config // nil for a command
	target driver.Target  // set for a command
}

func (c *verifyCmd) candidates() ([]candidate, error) {
	names := c.Client
	if len(names) == 0 {
		entries, err := os.ReadDir(c.Clients)
		if err != nil {
			return nil, fmt.Errorf("no folder with clients: %w; run from the root of the checkout, give --clients DIR, or name a driver with exec:COMMAND", err)
		}
		for _, e := range entries {
			// A folder without a configuration holds what clients share.
			if _, err := os.Stat(filepath.Join(c.Clients, e.Name(), driver.ConfigFile)); err == nil {
				names = append(names, e.Name())
			}
		}
	}
	var list []candidate
	for _, name := range names {
		if strings.HasPrefix(name, driver.ExecPrefix) {
			target, err := driver.Exec(name)
			if err != nil {
				return nil, err
			}
			list = append(list, candidate{name: target.Name, target: target})
			continue
		}
		if strings.ContainsAny(name, `/\`) {
			return nil, fmt.Errorf("client %q: expected the name of a folder under %s, or exec:COMMAND", name, c.Clients)
		}
		config, err := driver.Load(filepath.Join(c.Clients, name))
		if err != nil {
			return nil, err
		}
		list = append(list, candidate{name: name, config: config})
	}
	seen := map[string]bool{}
	for _, item := range list {
		if seen[item.name] {
			return nil, fmt.Errorf("client %q is named twice", item.name)
		}
		seen[item.name] = true
	}
	return list, nil
}

// start prepares and starts the clients side by side. What cannot be run is told in the report, and does not stop the others.
func (c *verifyCmd) start(ctx context.Context, say progress, clients []candidate, bundle string, out *report.Writer) (subjects []*scenarios.Subject, stop func()) {
	found := make([]*scenarios.Subject, len(clients))
	rows := make([]report.Driver, len(clients))
	var group errgroup.Group
	for i, item := range clients {
		group.Go(func() error {
			found[i], rows[i] = c.startOne(ctx, say, item, bundle)
			return nil
		})
	}
	_ = group.Wait()
	for i, row := range rows {
		out.Driver(row)
		if found[i] != nil {
			subjects = append(subjects, found[i])
		}
	}
	return subjects, func() {
		var wg sync.WaitGroup
		for _, s := range subjects {
			wg.Go(func() {
				if err := s.Driver.Stop(); err != nil {
					say("%v", err)
				}
			})
		}
		wg.Wait()
	}
}

func (c *verifyCmd) startOne(ctx context.Context, say progress, item candidate, bundle string) (*scenarios.Subject, report.Driver) {
	row := report.Driver{Name: item.name}
	notRun := func(why string) (*scenarios.Subject, report.Driver) {
		if c.Require == "all" {
			row.Broken = why
		} else {
			row.NotRun = why
		}
		say("%s is not run: %s", item.name, why)
		return nil, row
	}
	broken := func(err error) (*scenarios.Subject, report.Driver) {
		row.Broken = err.Error()
		say("%v", err)
		return nil, row
	}
	target := item.target
	var known, flaky driver.KnownFailures
	virtual := c.lane.Virtual()
	if virtual != nil {
		why := "a command of your own is not known to see virtual time: give it a folder with a client.yaml that says how (virtual: { by: … })"
		if item.config != nil {
			why = item.config.NotInVirtualLane()
		}
		if why != "" { // nothing is missing on the machine: that is not an error, whatever is required
			row.NotRun = "not in the virtual lane: " + why
			say("%s is not run: %s", item.name, row.NotRun)
			return nil, row
		}
	}
	if item.config != nil {
		runtime, err := item.config.Probe(ctx)
		var absent *driver.AbsentError
		switch {
		case errors.As(err, &absent):
			return notRun(absent.Reason)
		case err != nil:
			return broken(err)
		}
		prepared, err := item.config.Prepare(ctx, runtime, driver.PrepareOptions{
			Root: c.Cache, Virtual: virtual != nil, Progress: func(line string) { say("%s", line) },
		})
		if err != nil {
			return broken(err)
		}
		if prepared.Reused {
			say("%s: prepared before, in %s", item.name, prepared.Dir)
		}
		target, known, flaky = item.config.Target(prepared), item.config.KnownFailures, item.config.KnownFlaky
	}
	if virtual != nil {
		by, library := item.config.Virtual.By, ""
		var err error
		if by == driver.ByLibfaketime {
			if library, err = driver.FindLibfaketime(ctx, c.Faketime, virtual); err != nil {
				return notRun(err.Error())
			}
		}
		if target, err = target.Virtual(virtual, by, library); err != nil {
			return broken(err)
		}
	}
	stderr, err := c.stderrFile(item.name)
	if err != nil {
		return broken(err)
	}
	fresh := func(ctx context.Context) (*driver.Driver, error) {
		return driver.Start(ctx, target, driver.Options{
			Harness: "entracache " + version(), Env: driver.Environment(bundle),
			OnStderr: func(line driver.StderrLine) {
				fmt.Fprintf(stderr, "%s %s\n", line.Time.UTC().Format("15:04:05.000"), line.Text)
			},
		})
	}
	d, err := fresh(ctx)
	if err == nil {
		if err = d.LiarProbe(ctx); err != nil {
			_ = d.Stop() // it lied: how it ends does not matter any more
		}
	}
	if err != nil {
		return broken(err)
	}
	if item.config == nil { // a command is best known by the name that it gives itself
		item.name, row.Name = d.Hello().Driver.Name, d.Hello().Driver.Name
	}
	row.Info, row.Capabilities = d.Hello().Driver, d.Hello().Capabilities
	say("%s: %s %s is ready", item.name, d.Library().Name, d.Library().Version)
	return &scenarios.Subject{Name: item.name, Driver: d, Known: known, Flaky: flaky, Fresh: fresh}, row
}

// stderrFile keeps all that a driver says on stderr; a timeline shows only what is surely about its scenario.
func (c *verifyCmd) stderrFile(name string) (*os.File, error) {
	dir := filepath.Join(c.Out, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return os.Create(filepath.Join(dir, "stderr.txt"))
}

// stale finds lines of known_failures.txt that say nothing. A filtered run cannot tell.
func (c *verifyCmd) stale(catalogue *scenarios.Catalogue, subjects []*scenarios.Subject) []string {
	if c.filtered() {
		return nil
	}
	var ids, problems []string
	for _, s := range catalogue.Scenarios {
		ids = append(ids, s.ID)
	}
	for _, s := range subjects {
		problems = append(problems, s.Known.Problems(ids)...)
		problems = append(problems, s.Flaky.Problems(ids)...)
		for _, scenario := range catalogue.Scenarios {
			if k := s.Known.Match(scenario.ID); k != nil && !scenario.PlayableBy(s.Driver) {
				problems = append(problems, fmt.Sprintf("%s:%d: %q names %s, which is skipped for %s; a skip needs no excuse: remove the line", k.File, k.Line, k.Pattern, scenario.ID, s.Name))
			}
		}
	}
	return problems
}

// finish writes what is derived from the report and prints it.
func (c *verifyCmd) finish(std streams, r *report.Report) error {
	if err := writeFile(filepath.Join(c.Out, "junit.xml"), r.WriteJUnit); err != nil {
		return err
	}
	for _, x := range r.Results {
		if x.Artefact == "" {
			continue
		}
		dir := filepath.Dir(x.Artefact)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := writeFile(x.Artefact, func(w io.Writer) error { return r.WriteFailure(w, x) }); err != nil {
			return err
		}
		if c.Trace {
			if err := r.WriteFailure(std.out, x); err != nil {
				return err
			}
		}
	}
	if !c.Trace {
		if err := r.WriteFailures(std.out); err != nil {
			return err
		}
	}
	fmt.Fprintln(std.out)
	if err := r.WriteMatrix(std.out); err != nil {
		return err
	}
	fmt.Fprintf(std.out, "\nreport: %s   %s   took %s\n", filepath.Join(c.Out, "report.jsonl"), filepath.Join(c.Out, "junit.xml"), r.End.Duration.Round(100*time.Millisecond))
	return nil
}

func writeFile(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

func listScenarios(w io.Writer, list []*scenarios.Scenario) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", s.ID, s.Level, s.Requirement.ID, s.Title, strings.Join(s.Tags, " "))
	}
	return t.Flush()
}

func listSteps(w io.Writer) error {
	for _, def := range scenarios.Vocabulary() {
		if _, err := fmt.Fprintf(w, "%-5s %s\n", def.Kind, def.Form); err != nil {
			return err
		}
	}
	return nil
}

// hash names the content of the features, so that two reports can be told to have asked the same.
func hash(fsys fs.FS) string {
	sum := sha256.New()
	_ = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(fsys, name)
		fmt.Fprintf(sum, "%s %d\n%s", name, len(text), text)
		return err
	})
	return fmt.Sprintf("%x", sum.Sum(nil))[:16]
}

// progress says one line about what is being done.
type progress func(format string, args ...any)

func newProgress(w io.Writer, start time.Time) progress {
	var mu sync.Mutex
	return func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(w, "%6.1fs  %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, args...))
	}
}
