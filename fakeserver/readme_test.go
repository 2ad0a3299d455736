package fakeserver

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver/internal/command"
)

const (
	readme       = "../README.md"
	readmeBegin  = "<!-- commands: kept by fakeserver/readme_test.go -->"
	readmeEnd    = "<!-- end of commands -->"
	notEmulated  = "not emulated"
	earliestWord = "6.0"
)

// TestReadmeListsTheCommands holds the table of commands in the README against the dispatch tables of all engine levels that
// a profile has.
func TestReadmeListsTheCommands(t *testing.T) {
	t.Parallel()
	want := dispatchedCommands(t)
	data, err := os.ReadFile(readme)
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(data), readmeBegin)
	require.True(t, found, "%s has no line %q", readme, readmeBegin)
	section, _, found := strings.Cut(rest, readmeEnd)
	require.True(t, found, "%s has no line %q", readme, readmeEnd)
	got := map[string][]string{}
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 2 || strings.Contains(cells[0], "---") || strings.TrimSpace(cells[0]) == "group" {
			continue
		}
		for name := range strings.SplitSeq(cells[1], ",") {
			got[strings.TrimSpace(cells[0])] = append(got[strings.TrimSpace(cells[0])], strings.TrimSpace(name))
		}
	}
	if reflect.DeepEqual(want, got) {
		return
	}
	for group, names := range want {
		for _, name := range names {
			if !slices.Contains(got[group], name) {
				t.Errorf("README, group %s: add %s", group, name)
			}
		}
	}
	for group, names := range got {
		for _, name := range names {
			if !slices.Contains(want[group], name) {
				t.Errorf("README, group %s: remove %s", group, name)
			}
		}
	}
	groups := make([]string, 0, len(want))
	for group := range want {
		groups = append(groups, group)
	}
	slices.Sort(groups)
	var b strings.Builder
	for _, group := range groups {
		fmt.Fprintf(&b, "| %s | %s |\n", group, strings.Join(want[group], ", "))
	}
	t.Errorf("the rows ought to be\n%s", b.String())
}

// dispatchedCommands lists the commands by group, each with the levels that have it where not all do, and those that the fake
// has a row for but does not emulate.
func dispatchedCommands(t *testing.T) map[string][]string {
	t.Helper()
	levels := map[string][]string{} // that have the command
	groups := map[string]string{"stralgo": "string", "host:": "connection", "post": "connection"}
	missing := map[string]bool{}
	none := reflect.ValueOf(handler(cmdNotEmulated)).Pointer()
	for _, name := range Profiles() {
		s := RunT(t, WithProfile(name))
		for _, cmd := range s.table.All() {
			if h := s.handlers[cmd.ID]; h != nil && reflect.ValueOf(h).Pointer() == none {
				missing[cmd.Name] = true
			}
		}
	}
	for _, level := range command.Levels() {
		table, err := command.ForLevel(level)
		require.NoError(t, err)
		for _, cmd := range table.All() {
			levels[cmd.Name] = append(levels[cmd.Name], level)
			if cmd.Group != "" {
				groups[cmd.Name] = cmd.Group
			}
		}
	}
	listed := map[string][]string{}
	newest := command.Levels()[len(command.Levels())-1]
	for name, has := range levels {
		group, shown := groups[name], name
		if name == "quit" {
			has[0] = earliestWord // 6.x has it outside its table
		}
		if has[0] != earliestWord {
			shown += " (" + has[0] + ")"
		}
		if last := has[len(has)-1]; last != newest {
			shown += " (until " + last + ")"
		}
		if missing[name] {
			group, shown = notEmulated, name
		}
		listed[group] = append(listed[group], shown)
	}
	for _, names := range listed {
		slices.Sort(names)
	}
	return listed
}
