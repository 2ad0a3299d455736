package resp

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/redcon"
)

// FuzzFraming holds the guard against the much simpler implementation in expect, for any bytes, cut anywhere, read with
// slices of any length, signed in after any number of commands; and what it emits against redcon's own parser.
func FuzzFraming(f *testing.F) {
	for _, seed := range []string{
		crash, spin,
		"*1\r\n$4\r\nPING\r\n", "*1\r\n$4\r\nPINGxx*0\r\n*-1\r\n\r\nPING\n", "SET \"a b\" '\\'' \"\\x41\\n\"\r\n", "ECHO \"a\"b\r\n",
		"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", "*1\rX$4\rYPINGab", "*1\x00\r\n", "*1\r\n+x\r\n", "*1\r\n\r\n", "*11\r\n", "*1\r\n$17\r\n",
		"*1025\r\n", "*1\r\n$513\r\n", "*3\r\n$400\r\n" + strings.Repeat("x", 402) + "$400\r\n" + strings.Repeat("y", 402),
		strings.Repeat("x", 80) + "\r\n", strings.Repeat("x", 65), strings.Repeat("x", 95) + "\n", "*" + strings.Repeat("0", 70) + "\r\n", strings.Repeat("7", 200), "*" + strings.Repeat("7", 200),
		"*1\r\n$4\r\nAUTH\r\n*1\r\n$20\r\n12345678901234567890\r\n", strings.Repeat("*1\r\n$4\r\nPING\r\n", 40),
	} {
		f.Add([]byte(seed), 0, uint16(1), uint16(4096))
		f.Add([]byte(seed), 1, uint16(5), uint16(600))
		f.Add([]byte(seed), -1, uint16(1000), uint16(3))
	}
	// Small limits, so that short inputs reach them.
	limits := Limits{Args: 1024, Bulk: 512, Line: 64, Overrun: 30, UnauthenticatedArgs: 3, UnauthenticatedBulk: 16, Command: 1000}
	f.Fuzz(func(t *testing.T, in []byte, signIn int, piece, slice uint16) {
		want := expect(in, limits, signIn)
		got := observe(t, in, limits, signIn, []int{max(1, int(piece))}, []int{max(1, int(slice))})
		require.Equal(t, want, got)

		g := NewGuard(&scripted{pieces: cut(in, max(1, int(piece)))}, Options{Limits: limits})
		g.SetAuthenticated(true)
		r := redcon.NewReader(g)
		want = expect(in, limits, 0)
		for i := 0; ; i++ {
			cmd, err := r.ReadCommand()
			if err != nil {
				require.EqualError(t, err, "EOF")
				require.Len(t, want.commands, i)
				break
			}
			require.Less(t, i, len(want.commands))
			for j, arg := range cmd.Args {
				require.Equal(t, want.commands[i][j], string(arg))
			}
		}
	})
}

// FuzzParse checks that no bytes make the reply parser panic or allocate what they do not hold, that what it accepts can
// be written and read again, and that SplitReply agrees with it.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"+OK\r\n", "-ERR x\r\n", ":1\r\n", "$3\r\nabc\r\n", "$-1\r\n", "*-1\r\n", "*2\r\n:1\r\n_\r\n", "%1\r\n+a\r\n,1.5\r\n", "|1\r\n+a\r\n+b\r\n#t\r\n", "|0\r\n",
		"=7\r\ntxt:abc\r\n", "(123\r\n", "!3\r\nabc\r\n", ">2\r\n+a\r\n~0\r\n", "*2147483647\r\n", "%2147483647\r\n%2147483647\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		v, rest, err := Parse(in)
		if err != nil {
			require.Equal(t, in, rest)
			return
		}
		reply, after, err := SplitReply(in)
		require.NoError(t, err)
		require.Equal(t, rest, after)
		require.Equal(t, len(in), len(reply)+len(after))
		for _, proto := range []int{2, 3} {
			b := v.Append(nil, proto)
			again, rest, err := Parse(b)
			require.NoError(t, err)
			require.Empty(t, rest)
			require.Equal(t, string(b), string(again.Append(nil, proto)))
		}
	})
}
