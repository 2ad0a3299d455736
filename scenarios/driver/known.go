package driver

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// KnownFailure is one line of a known_failures.txt: scenarios that this library is known to fail, and why. They run anyway.
type KnownFailure struct {
	Pattern string // doublestar glob on the scenario's id
	Reason  string // as seen on the wire, with the upstream link where there is one
	File    string
	Line    int
}

// KnownFailures are the lines of one file in their order.
type KnownFailures []KnownFailure

// tooBroad is the number of scenarios beyond which one pattern is not a known failure but a way to look away.
const tooBroad = 20

// ParseKnownFailures reads lines of the form "pattern  # reason"; lines that are empty or begin with # are comments. file is
// for errors, which name the line.
func ParseKnownFailures(file string, r io.Reader) (KnownFailures, error) {
	var known KnownFailures
	firstLine := map[string]int{}
	scanner := bufio.NewScanner(r)
	for number := 1; scanner.Scan(); number++ {
		text := strings.TrimSpace(scanner.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		bad := func(format string, args ...any) error {
			return fmt.Errorf("%s:%d: %s", file, number, fmt.Sprintf(format, args...))
		}
		pattern, reason, _ := strings.Cut(text, "#")
		pattern, reason = strings.TrimSpace(pattern), strings.TrimSpace(reason)
		switch {
		case reason == "":
			return nil, bad("%q has no reason; write: %s  # what was seen on the wire; link", pattern, pattern)
		case strings.ContainsAny(pattern, " \t"):
			return nil, bad("expected one pattern, then # and the reason, got %q", text)
		case !doublestar.ValidatePattern(pattern):
			return nil, bad("%q is not a valid pattern", pattern)
		case firstLine[pattern] != 0:
			return nil, bad("%q stands already on line %d", pattern, firstLine[pattern])
		}
		firstLine[pattern] = number
		known = append(known, KnownFailure{Pattern: pattern, Reason: reason, File: file, Line: number})
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return known, nil
}

// Matches says whether the scenario is one of those meant.
func (k KnownFailure) Matches(scenario string) bool {
	return doublestar.MatchUnvalidated(k.Pattern, scenario)
}

// Match finds the first line that names the scenario, or nil.
func (known KnownFailures) Match(scenario string) *KnownFailure {
	for i := range known {
		if known[i].Matches(scenario) {
			return &known[i]
		}
	}
	return nil
}

// Problems are the lines that have gone stale or go too far, one sentence each: those that name no scenario, or more than
// twenty. all must be the ids of every scenario there is, not of a filtered run.
func (known KnownFailures) Problems(all []string) []string {
	var problems []string
	for _, k := range known {
		matched := 0
		for _, id := range all {
			if k.Matches(id) {
				matched++
			}
		}
		switch {
		case matched == 0:
			problems = append(problems, fmt.Sprintf("%s:%d: %q names no scenario; correct or remove the line", k.File, k.Line, k.Pattern))
		case matched > tooBroad:
			problems = append(problems, fmt.Sprintf("%s:%d: %q names %d scenarios, at most %d may share a line; name the behaviour more closely",
				k.File, k.Line, k.Pattern, matched, tooBroad))
		}
	}
	return problems
}
