package fakeserver_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/fakeserver/internal/command"
	"github.com/entracache/entracache/fakeserver/internal/command/redistest"
)

// arityCalls are calls of every command and subcommand with each number of arguments that is too small, and some that are too
// large; of containers also with what is no subcommand. right adds the calls with the least right number.
func arityCalls(table *command.Table, right bool) [][]string {
	var calls [][]string
	for _, cmd := range table.Every() {
		if cmd.Name == "quit" {
			continue // it takes any number, and closes
		}
		words := strings.Split(cmd.Name, "|")
		call := func(n int) {
			args := append([]string{}, words...)
			for len(args) < n {
				args = append(args, "1")
			}
			calls = append(calls, args)
		}
		least := max(cmd.Arity, -cmd.Arity)
		for n := len(words); n < least; n++ {
			call(n)
		}
		if right && cmd.Name != "auth" && cmd.Name != "hello" && cmd.Name != "reset" {
			call(least)
		}
		if cmd.Arity > 0 {
			call(least + 1)
			call(min(least+3, 10)) // the most that who has not signed in may send
		}
		if cmd.Subcommands != nil {
			calls = append(calls, []string{cmd.Name, "nope"}, []string{strings.ToUpper(cmd.Name), "No\r\npe", "x"})
		}
	}
	return calls
}

// TestArityAgainstRealServer puts wrong numbers of arguments to a real server and to the fake: as the default user, who may do
// everything, as nobody, and as a user who may do nothing; inside MULTI too.
func TestArityAgainstRealServer(t *testing.T) {
	t.Parallel()
	table, err := command.ForLevel("7.0")
	require.NoError(t, err)
	type pair struct{ real, fake *client }
	connect := func(setup ...string) pair {
		realServer := redistest.Start(t)
		real := newClient(t, dialing(t, "unix", realServer.Options().Addr)())
		fakeServer := open(t, fakeserver.ProfileOSS70)
		fake := dialPlain(t, fakeServer)
		for _, line := range setup {
			words := strings.Fields(line)
			for _, c := range []*client{real, fake} {
				require.Equal(t, "+OK", c.line(words...), line)
			}
		}
		return pair{newClient(t, dialing(t, "unix", realServer.Options().Addr)()), dialPlain(t, fakeServer)}
	}
	compare := func(t *testing.T, p pair, calls [][]string) {
		t.Helper()
		for _, call := range calls {
			theirs, ours := p.real.do(call...), p.fake.do(call...)
			require.Equal(t, fmt.Sprintf("%.400s", theirs), fmt.Sprintf("%.400s", ours), "%q", call)
		}
		t.Logf("%d calls", len(calls))
	}
	wrong := arityCalls(table, false)
	require.Greater(t, len(wrong), 800)

	t.Run("default user", func(t *testing.T) { compare(t, connect(), wrong) })
	t.Run("not signed in", func(t *testing.T) {
		p := connect("CONFIG SET requirepass secret")
		// The right numbers show what is asked for first.
		calls := arityCalls(table, true)
		compare(t, p, calls)
	})
	t.Run("without permissions", func(t *testing.T) {
		p := connect("ACL SETUSER nobody on nopass -@all")
		for _, c := range []*client{p.real, p.fake} {
			require.Equal(t, "+OK", c.line("AUTH", "nobody", "x"))
		}
		compare(t, p, arityCalls(table, true))
	})
	t.Run("in a transaction", func(t *testing.T) {
		p := connect()
		var calls [][]string
		for _, call := range wrong {
			calls = append(calls, []string{"MULTI"}, call, []string{"EXEC"})
		}
		compare(t, p, calls)
	})
}
