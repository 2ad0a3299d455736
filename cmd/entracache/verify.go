package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
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

	Library  []string `help:"Play another version of a client's library, too, in a column of its own: redis-py=7.1.0 (may be repeated). With no client named, those that are named here." placeholder:"CLIENT=VERSION" sep:"none"`
	Scenario []string `help:"Only scenarios whose id matches this glob (may be repeated)." placeholder:"GLOB" sep:"none"`
	Tags     string   `help:"Only scenarios whose tags satisfy this expression, such as \"@must and not @needs:pool\"." placeholder:"EXPR"`
	Lane     string   `help:"How the durations of the features map to the wall clock: scaled, virtual or real. auto takes for each client the one that its client.yaml says suits it." default:"auto" enum:"auto,scaled,virtual,real" placeholder:"auto|scaled|virtual|real"`
	Speed    float64  `help:"How many times faster than real life the lane runs. Default ${default_speed} in the scaled lane, ${default_virtual_speed} in the virtual one. Without --lane, that of the scaled one." placeholder:"N"`
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

	lanes *lanes
}

// notHere are client libraries of the specification that this checkout has no driver for.
var notHere = []report.Driver{
	{Name: "StackExchange.Redis", NotRun: "needs .NET: its driver is still to come"},
}

func (c *verifyCmd) Run(ctx context.Context, std streams) error {
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
	if c.lanes, err = newLanes(c.Lane, c.Speed, c.Faketime, selected); err != nil {
		return usageError(err)
	}
	defer c.lanes.close() // two small files at worst
	clients, err := c.candidates()
	if err != nil {
		return usageError(err)
	}
	if selected, err = scenarios.ForLanes(selected, c.lanes.names(clients), len(c.Scenario) > 0 || c.Tags != ""); err != nil {
		return usageError(err)
	}
	return c.verify(ctx, std, clients, catalogue, fsys, selected)
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

func (c *verifyCmd) verify(ctx context.Context, std streams, clients []candidate, catalogue *scenarios.Catalogue, fsys fs.FS, selected []*scenarios.Scenario) error {
	start := time.Now()
	say := newProgress(std.err, start)
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
		Lane: c.lanes.asked, Parallel: c.Parallel, Filters: c.filters(),
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
	if len(c.Client) == 0 && len(c.Library) == 0 {
		for _, d := range notHere {
			out.Driver(d)
		}
	}

	for _, name := range scenarios.Lanes {
		lane, n := c.lanes.made[name], 0
		for _, s := range subjects {
			if s.Lane.Name == name {
				n++
			}
		}
		if n > 0 {
			say("playing %d scenarios against %d client(s), %s lane, an hour in %s", len(selected), n, lane.Name, lane.Wall(time.Hour).Round(time.Millisecond))
		}
	}
	for _, s := range subjects {
		if own := s.Lane.For(s.Driver.Hello().Limits); own.Speed < s.Lane.Speed {
			say("%s asks for tokens that live longer: for it, an hour takes %s", s.Name, own.Wall(time.Hour).Round(time.Second))
		}
	}
	run := &scenarios.Run{
		Parallel: c.Parallel, KeepTimelines: c.Trace, Plays: c.Plays,
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
	if c.Lane != laneAuto {
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
	if name, version, ok := strings.Cut(subject, "@"); ok {
		return fmt.Sprintf("--library %s=%s", name, version)
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
		for _, library := range c.Library {
			if name, _, _ := strings.Cut(library, "="); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
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
	for _, library := range c.Library {
		name, version, ok := strings.Cut(library, "=")
		i := slices.IndexFunc(list, func(item candidate) bool { return item.name == name && item.config != nil })
		if !ok || i < 0 {
			return nil, fmt.Errorf("--library %s: expected CLIENT=VERSION with one of the clients that are played, such as redis-py=7.1.0", library)
		}
		other, err := list[i].config.AtVersion(version)
		if err != nil {
			return nil, fmt.Errorf("--library %s: %w", library, err)
		}
		list = slices.Insert(list, i+1, candidate{name: other.Column(), config: other})
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
	tempo, instead, err := c.lanes.tempoFor(ctx, item.config)
	var never *errNotVirtual
	switch {
	case errors.As(err, &never): // nothing is missing on the machine: that is not an error, whatever is required
		row.NotRun = never.Error()
		say("%s is not run: %s", item.name, row.NotRun)
		return nil, row
	case err != nil:
		return notRun(err.Error())
	case instead != "" && c.Require == "all":
		return notRun(instead)
	case instead != "":
		say("%s: %s", item.name, instead)
	}
	virtual := tempo.lane.Virtual()
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
		if target, err = target.Virtual(virtual, item.config.Virtual.By, tempo.library); err != nil {
			return broken(err)
		}
	}
	stderr, err := c.stderrFile(item.name)
	if err != nil {
		return broken(err)
	}
	fresh := func(ctx context.Context, own map[string]string) (*driver.Driver, error) {
		env := driver.Environment(bundle)
		maps.Copy(env, own)
		return driver.Start(ctx, target, driver.Options{
			Harness: "entracache " + version(), Env: env,
			OnStderr: func(line driver.StderrLine) {
				fmt.Fprintf(stderr, "%s %s\n", line.Time.UTC().Format("15:04:05.000"), line.Text)
			},
		})
	}
	d, err := fresh(ctx, nil)
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
	row.Lane, row.Speed = tempo.lane.Name, tempo.lane.For(d.Hello().Limits).Speed
	say("%s: %s %s is ready", item.name, d.Library().Name, d.Library().Version)
	return &scenarios.Subject{Name: item.name, Driver: d, Lane: tempo.lane, Known: known, Flaky: flaky, OtherVersion: item.config != nil && item.config.Version != "", Fresh: fresh}, row
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
		if s.OtherVersion {
			continue
		}
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
