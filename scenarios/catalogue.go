package scenarios

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	gherkin "github.com/cucumber/gherkin/go/v26"
	messages "github.com/cucumber/messages/go/v21"
	"github.com/goccy/go-yaml"

	"github.com/entracache/entracache/scenarios/protocol"
	"github.com/entracache/entracache/scenarios/report"
)

// Requirement is a sentence of the specification that scenarios test.
type Requirement struct {
	ID       string       `yaml:"id"`
	Level    report.Level `yaml:"level"`
	Sentence string       `yaml:"sentence"`
	// Reading says how we read the sentence where it leaves room. Empty where it does not.
	Reading string `yaml:"reading"`
	// Source names the document, where it is not the article named at the top of requirements.yaml.
	Source string `yaml:"source"`
}

// Scenario is one scenario of a feature file, with a Background and Examples already expanded.
type Scenario struct {
	ID          string
	Title       string
	Feature     string
	File        string
	Line        int
	Level       report.Level
	Requirement Requirement
	// Needs are the driver capabilities without which the scenario is skipped.
	Needs []protocol.Capability
	Tags  []string
	Steps []Step
	// OwnProcess is set by the tag @process: the scenario gets a driver process for itself. It is for scenarios in which a
	// library is known to take its whole process down; then that is its failure, and does not spoil the others.
	OwnProcess bool
	// Lane is set by the tag @lane:…: the scenario is played in that lane only. Long is set by the tag @long: it is played only when it
	// is asked for. See [ForLanes].
	Lane string
	Long bool
}

// Location is file:line, for messages.
func (s *Scenario) Location() string { return fmt.Sprintf("features/%s:%d", s.File, s.Line) }

// ownEnvironment tells whether the process of the scenario's own starts only when its environment is known, which says how a managed
// identity gets its tokens on this machine.
func (s *Scenario) ownEnvironment() bool {
	return s.OwnProcess && slices.Contains(s.Needs, protocol.CapManagedIdentity)
}

// Step is one step of a scenario: its text without the keyword.
type Step struct {
	Text string
	Line int
}

// Catalogue is a set of scenarios with the requirements that they test.
type Catalogue struct {
	// Set is the name of the frozen set of requirements, such as "2026-11".
	Set          string
	Requirements []Requirement
	Scenarios    []*Scenario
}

var idPattern = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+$`)

// Load reads requirements.yaml and every *.feature file of the file system. It refuses, naming file and line, whatever would let
// a scenario be skipped, mistaken for another or passed without being run: a step that is not in the vocabulary, an unknown tag,
// a missing or repeated id, an unknown requirement or capability.
func Load(fsys fs.FS) (*Catalogue, error) {
	c := &Catalogue{}
	if err := c.loadRequirements(fsys); err != nil {
		return nil, err
	}
	files, err := fs.Glob(fsys, "*.feature")
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, errors.New("no *.feature file found: give a folder that holds feature files and requirements.yaml")
	}
	var problems []error
	for _, file := range files {
		scenarios, err := c.loadFeature(fsys, file)
		if err != nil {
			problems = append(problems, err)
		}
		c.Scenarios = append(c.Scenarios, scenarios...)
	}
	seen := map[string]*Scenario{}
	for _, s := range c.Scenarios {
		if first, ok := seen[s.ID]; ok {
			problems = append(problems, fmt.Errorf("%s: the id %s is taken by %s: ids are unique and never reused", s.Location(), s.ID, first.Location()))
		}
		seen[s.ID] = s
	}
	return c, errors.Join(problems...)
}

func (c *Catalogue) loadRequirements(fsys fs.FS) error {
	text, err := fs.ReadFile(fsys, "requirements.yaml")
	if err != nil {
		return fmt.Errorf("read the requirements: %w", err)
	}
	var doc struct {
		Set          string        `yaml:"set"`
		Requirements []Requirement `yaml:"requirements"`
	}
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&doc); err != nil {
		return fmt.Errorf("requirements.yaml: %w", err)
	}
	for _, r := range doc.Requirements {
		if r.ID == "" || r.Sentence == "" || !slices.Contains(report.Levels, r.Level) {
			return fmt.Errorf("requirements.yaml: requirement %q needs an id, a sentence and a level out of %v", r.ID, report.Levels)
		}
	}
	c.Set, c.Requirements = doc.Set, doc.Requirements
	return nil
}

func (c *Catalogue) loadFeature(fsys fs.FS, file string) ([]*Scenario, error) {
	text, err := fs.ReadFile(fsys, file)
	if err != nil {
		return nil, fmt.Errorf("read the feature: %w", err)
	}
	newID := (&messages.Incrementing{}).NewId
	doc, err := gherkin.ParseGherkinDocument(bytes.NewReader(text), newID)
	if err != nil {
		return nil, fmt.Errorf("%s: not readable as Gherkin: %w", file, err)
	}
	lines, cells := linesOf(doc), cellsOf(doc)
	pickles := gherkin.Pickles(*doc, file, newID)
	if len(pickles) == 0 {
		return nil, fmt.Errorf("%s: holds no scenario", file)
	}
	var scenarios []*Scenario
	var problems []error
	for _, p := range pickles {
		s, err := c.newScenario(file, doc.Feature.Name, p, lines, cells)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		scenarios = append(scenarios, s)
	}
	return scenarios, errors.Join(problems...)
}

// linesOf maps the ids of scenarios, examples rows and steps to their lines.
func linesOf(doc *messages.GherkinDocument) map[string]int {
	lines := map[string]int{}
	step := func(steps []*messages.Step) {
		for _, s := range steps {
			lines[s.Id] = int(s.Location.Line)
		}
	}
	scenario := func(s *messages.Scenario) {
		lines[s.Id] = int(s.Location.Line)
		step(s.Steps)
		for _, e := range s.Examples {
			for _, row := range e.TableBody {
				lines[row.Id] = int(row.Location.Line)
			}
		}
	}
	for _, child := range doc.Feature.Children {
		switch {
		case child.Background != nil:
			step(child.Background.Steps)
		case child.Scenario != nil:
			scenario(child.Scenario)
		case child.Rule != nil:
			for _, rc := range child.Rule.Children {
				if rc.Background != nil {
					step(rc.Background.Steps)
				}
				if rc.Scenario != nil {
					scenario(rc.Scenario)
				}
			}
		}
	}
	return lines
}

// cellsOf maps the ids of Examples rows to what fills the placeholders of their outline. Gherkin fills in titles and steps by itself, but
// not tags; in ours a placeholder makes one id for each row.
func cellsOf(doc *messages.GherkinDocument) map[string]*strings.Replacer {
	cells := map[string]*strings.Replacer{}
	scenario := func(s *messages.Scenario) {
		for _, e := range s.Examples {
			for _, row := range e.TableBody {
				var pairs []string
				for i, cell := range row.Cells {
					pairs = append(pairs, "<"+e.TableHeader.Cells[i].Value+">", cell.Value)
				}
				cells[row.Id] = strings.NewReplacer(pairs...)
			}
		}
	}
	for _, child := range doc.Feature.Children {
		switch {
		case child.Scenario != nil:
			scenario(child.Scenario)
		case child.Rule != nil:
			for _, rc := range child.Rule.Children {
				if rc.Scenario != nil {
					scenario(rc.Scenario)
				}
			}
		}
	}
	return cells
}

func (c *Catalogue) newScenario(file, feature string, p *messages.Pickle, lines map[string]int, cells map[string]*strings.Replacer) (*Scenario, error) {
	s := &Scenario{Title: p.Name, Feature: feature, File: path.Base(file)}
	// The last AST node of a pickle is the Examples row where there is one, otherwise the scenario itself.
	node := p.AstNodeIds[len(p.AstNodeIds)-1]
	s.Line = lines[node]
	var problems []error
	bad := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("%s: "+format, append([]any{s.Location()}, args...)...))
	}
	for _, tag := range p.Tags {
		name := tag.Name
		if filled, ok := cells[node]; ok {
			name = filled.Replace(name)
		}
		s.Tags = append(s.Tags, name)
		key, value, _ := strings.Cut(strings.TrimPrefix(name, "@"), ":")
		switch {
		case key == "id":
			s.ID = value
		case key == "must" || key == "should" || key == "info":
			s.Level = report.Level(strings.ToUpper(key))
		case key == "req":
			i := slices.IndexFunc(c.Requirements, func(r Requirement) bool { return r.ID == value })
			if i < 0 {
				bad("requirement %q is not in requirements.yaml", value)
				continue
			}
			s.Requirement = c.Requirements[i]
		case key == "needs":
			if !slices.Contains(protocol.Capabilities(), protocol.Capability(value)) {
				bad("unknown capability %q: expected one of %v", value, protocol.Capabilities())
			}
			s.Needs = append(s.Needs, protocol.Capability(value))
		case key == "lane":
			if !slices.Contains(Lanes, value) {
				bad("unknown lane %q: expected one of %v", value, Lanes)
			}
			s.Lane = value
		case value == "" && key == "long":
			s.Long = true
		case value == "" && key == "process":
			s.OwnProcess = true
		case value == "" && key == "nightly":
			// A selection to play in the real lane, see .ci/nightly: it ends within an hour and a half of a client's time.
		case value == "" && key == strings.TrimSuffix(s.File, ".feature"):
			// Every feature carries its own name as a tag, to be selected by it.
		default:
			bad("unknown tag %s: expected @id:…, @must, @should, @info, @req:…, @needs:…, @process, @lane:…, @long, @nightly or @%s", name, strings.TrimSuffix(s.File, ".feature"))
		}
	}
	if !idPattern.MatchString(s.ID) {
		bad("scenario %q has the id %q: expected a tag such as @id:refresh.idle-pool", s.Title, s.ID)
	}
	if s.Level == "" {
		bad("scenario %q has no level: expected one of the tags @must, @should, @info", s.Title)
	}
	if s.Requirement.ID == "" {
		bad("scenario %q names no requirement: expected a tag such as @req:ENT-REFRESH-2", s.Title)
	}
	if slices.Contains(s.Needs, protocol.CapManagedIdentity) && !s.OwnProcess {
		bad("scenario %q needs %s, but not @process: how a managed identity gets its tokens is said in the environment of a process", s.Title, protocol.CapManagedIdentity)
	}
	outcomes := 0
	for _, step := range p.Steps {
		line := lines[step.AstNodeIds[0]]
		if step.Argument != nil {
			bad("step %q has a table or doc string: no step takes one", step.Text)
		}
		if n := countMatches(step.Text); n != 1 {
			bad("step %q (line %d) matches %d steps of the vocabulary, expected 1: `entracache verify --steps` lists them", step.Text, line, n)
		}
		if step.Type == messages.PickleStepType_OUTCOME {
			outcomes++
		}
		s.Steps = append(s.Steps, Step{Text: step.Text, Line: line})
	}
	if outcomes == 0 {
		bad("scenario %q has no Then step: it could not fail", s.Title)
	}
	return s, errors.Join(problems...)
}

// Report is the scenario as the report shows it.
func (s *Scenario) Report() report.Scenario {
	return report.Scenario{
		ID: s.ID, Title: s.Title, Feature: s.Feature, Location: s.Location(), Level: s.Level,
		Requirement: s.Requirement.ID, Sentence: s.Requirement.Sentence, Reading: s.Requirement.Reading, Tags: s.Tags, Needs: s.Needs,
	}
}
