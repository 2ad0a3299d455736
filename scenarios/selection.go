package scenarios

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Select returns the scenarios whose id matches one of the globs (none means all) and whose tags satisfy the expression (empty
// means all). A glob or expression that selects nothing is an error: a run of no scenario must not look like a success.
func (c *Catalogue) Select(globs []string, tags string) ([]*Scenario, error) {
	expr, err := parseTags(tags)
	if err != nil {
		return nil, err
	}
	for _, name := range expr.names {
		if !slices.ContainsFunc(c.Scenarios, func(s *Scenario) bool { return slices.Contains(s.Tags, name) }) {
			return nil, fmt.Errorf("no scenario has the tag %s: `entracache verify --list` shows the tags", name)
		}
	}
	used := make([]bool, len(globs))
	var selected []*Scenario
	for _, s := range c.Scenarios {
		match := len(globs) == 0
		for i, g := range globs {
			// Ids are separated by dots; a glob may use them as they are, and * does not stop at one.
			ok, err := doublestar.Match(g, s.ID)
			if err != nil {
				return nil, fmt.Errorf("scenario pattern %q: %w", g, err)
			}
			if ok {
				used[i], match = true, true
			}
		}
		if match && expr.eval(s.Tags) {
			selected = append(selected, s)
		}
	}
	for i, g := range globs {
		if !used[i] {
			return nil, fmt.Errorf("no scenario matches %q: `entracache verify --list` shows the ids", g)
		}
	}
	if len(selected) == 0 {
		return nil, fmt.Errorf("no scenario is selected by the patterns %q and the tags %q together", globs, tags)
	}
	return selected, nil
}

// ForLanes leaves out the scenarios that are for other lanes, and the long ones unless the selection asked for some by name or tag. To
// ask for nothing but scenarios of another lane is an error.
func ForLanes(selected []*Scenario, lanes []string, asked bool) ([]*Scenario, error) {
	var list []*Scenario
	var other *Scenario
	for _, s := range selected {
		switch {
		case s.Lane != "" && !slices.Contains(lanes, s.Lane):
			other = s
		case s.Long && !asked:
		default:
			list = append(list, s)
		}
	}
	if len(list) == 0 && other != nil {
		return nil, fmt.Errorf("%s is played in the %s lane only: add --lane %s", other.ID, other.Lane, other.Lane)
	}
	return list, nil
}

// tagExpr is a Cucumber tag expression: @a and not (@b or @c).
//
// godog's own filter knows only ~, && and the comma, and silently selects nothing for the words that Cucumber users write; the
// official parser is not published for current Go.
type tagExpr struct {
	eval  func(tags []string) bool
	names []string
}

func parseTags(text string) (*tagExpr, error) {
	p := &tagParser{tokens: strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(text))}
	expr := &tagExpr{eval: func([]string) bool { return true }}
	if len(p.tokens) == 0 {
		return expr, nil
	}
	eval, err := p.or()
	if err == nil && len(p.tokens) > 0 {
		err = fmt.Errorf("unexpected %q", p.tokens[0])
	}
	if err != nil {
		return nil, fmt.Errorf("tag expression %q: %w; expected something like \"@must and not @needs:pool\"", text, err)
	}
	expr.eval, expr.names = eval, p.names
	return expr, nil
}

type tagParser struct {
	tokens []string
	names  []string
}

func (p *tagParser) take(word string) bool {
	if len(p.tokens) > 0 && p.tokens[0] == word {
		p.tokens = p.tokens[1:]
		return true
	}
	return false
}

func (p *tagParser) or() (func([]string) bool, error) {
	left, err := p.and()
	for err == nil && p.take("or") {
		var right func([]string) bool
		l := left
		right, err = p.and()
		left = func(tags []string) bool { return l(tags) || right(tags) }
	}
	return left, err
}

func (p *tagParser) and() (func([]string) bool, error) {
	left, err := p.not()
	for err == nil && p.take("and") {
		var right func([]string) bool
		l := left
		right, err = p.not()
		left = func(tags []string) bool { return l(tags) && right(tags) }
	}
	return left, err
}

func (p *tagParser) not() (func([]string) bool, error) {
	if p.take("not") {
		inner, err := p.not()
		return func(tags []string) bool { return !inner(tags) }, err
	}
	if p.take("(") {
		inner, err := p.or()
		if err == nil && !p.take(")") {
			err = fmt.Errorf("missing )")
		}
		return inner, err
	}
	if len(p.tokens) == 0 {
		return nil, fmt.Errorf("ends too early")
	}
	name := p.tokens[0]
	if !strings.HasPrefix(name, "@") || len(name) < 2 {
		return nil, fmt.Errorf("expected a tag such as @must, got %q", name)
	}
	p.tokens = p.tokens[1:]
	p.names = append(p.names, name)
	return func(tags []string) bool { return slices.Contains(tags, name) }, nil
}
