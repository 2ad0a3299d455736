package report

import (
	"fmt"
	"slices"
)

// What makes a line acceptable stands here once. The writer refuses what can only be a mistake of the line itself; the reader
// also refuses a result of something that the report does not have.

func (r *Report) addDriver(d Driver) error {
	switch {
	case d.Name == "":
		return fmt.Errorf("a driver has no name")
	case r.hasDriver(d.Name):
		return fmt.Errorf("driver %q is there twice", d.Name)
	}
	r.Drivers = append(r.Drivers, d)
	return nil
}

func (r *Report) addScenario(s Scenario) error {
	switch {
	case s.ID == "":
		return fmt.Errorf("a scenario has no id")
	case !slices.Contains(Levels, s.Level):
		return fmt.Errorf("scenario %q has the level %q: expected one of %v", s.ID, s.Level, Levels)
	case r.hasScenario(s.ID):
		return fmt.Errorf("scenario %q is there twice", s.ID)
	}
	r.Scenarios = append(r.Scenarios, s)
	return nil
}

func (r *Report) addResult(x Result) error {
	_, twice := r.Result(x.Driver, x.Scenario)
	switch {
	case !slices.Contains(Statuses, x.Status):
		return fmt.Errorf("driver %q, scenario %q: unknown status %q: expected one of %v", x.Driver, x.Scenario, x.Status, Statuses)
	case twice:
		return fmt.Errorf("driver %q has two results of scenario %q", x.Driver, x.Scenario)
	}
	r.Results = append(r.Results, x)
	return nil
}

// addKnownResult is addResult for a report that is read: the driver and the scenario must have come before it.
func (r *Report) addKnownResult(x Result) error {
	switch {
	case !r.hasDriver(x.Driver):
		return fmt.Errorf("a result of scenario %q is for driver %q, which the report does not have", x.Scenario, x.Driver)
	case !r.hasScenario(x.Scenario):
		return fmt.Errorf("a result of driver %q is for scenario %q, which the report does not have", x.Driver, x.Scenario)
	}
	return r.addResult(x)
}

// complete says what is missing: every driver that was run has a result of every scenario.
func (r *Report) complete() error {
	for _, d := range r.Drivers {
		if d.NotRun != "" || d.Broken != "" {
			continue
		}
		for _, s := range r.Scenarios {
			if _, ok := r.Result(d.Name, s.ID); !ok {
				return fmt.Errorf("driver %q has no result of scenario %q", d.Name, s.ID)
			}
		}
	}
	return nil
}

func (r *Report) hasDriver(name string) bool {
	return slices.ContainsFunc(r.Drivers, func(d Driver) bool { return d.Name == name })
}

func (r *Report) hasScenario(id string) bool {
	return slices.ContainsFunc(r.Scenarios, func(s Scenario) bool { return s.ID == id })
}
