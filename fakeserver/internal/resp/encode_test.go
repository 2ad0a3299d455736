package resp

import (
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestAppend(t *testing.T) {
	for name, c := range map[string]struct {
		append       func(proto int) []byte
		resp2, resp3 string
	}{
		"simple":           {func(int) []byte { return AppendSimple(nil, "OK") }, "+OK\r\n", "+OK\r\n"},
		"error":            {func(int) []byte { return AppendError(nil, "ERR no\r\nline ends") }, "-ERR no  line ends\r\n", "-ERR no  line ends\r\n"},
		"int":              {func(int) []byte { return AppendInt(nil, math.MinInt64) }, ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"},
		"bulk":             {func(int) []byte { return AppendBulk(nil, []byte("a\r\nb")) }, "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n"},
		"empty bulk":       {func(int) []byte { return AppendBulkString(nil, "") }, "$0\r\n\r\n", "$0\r\n\r\n"},
		"null":             {func(p int) []byte { return AppendNull(nil, p) }, "$-1\r\n", "_\r\n"},
		"null array":       {func(p int) []byte { return AppendNullArray(nil, p) }, "*-1\r\n", "_\r\n"},
		"array":            {func(int) []byte { return AppendArray(nil, 3) }, "*3\r\n", "*3\r\n"},
		"map":              {func(p int) []byte { return AppendMap(nil, p, 3) }, "*6\r\n", "%3\r\n"},
		"set":              {func(p int) []byte { return AppendSet(nil, p, 3) }, "*3\r\n", "~3\r\n"},
		"push":             {func(p int) []byte { return AppendPush(nil, p, 3) }, "*3\r\n", ">3\r\n"},
		"true":             {func(p int) []byte { return AppendBool(nil, p, true) }, ":1\r\n", "#t\r\n"},
		"false":            {func(p int) []byte { return AppendBool(nil, p, false) }, ":0\r\n", "#f\r\n"},
		"verbatim":         {func(p int) []byte { return AppendVerbatim(nil, p, "txt", []byte("abc")) }, "$3\r\nabc\r\n", "=7\r\ntxt:abc\r\n"},
		"short format":     {func(p int) []byte { return AppendVerbatim(nil, p, "x", nil) }, "$0\r\n\r\n", "=4\r\nx  :\r\n"},
		"big number":       {func(p int) []byte { return AppendBigNumber(nil, p, "-12345678901234567890") }, "$21\r\n-12345678901234567890\r\n", "(-12345678901234567890\r\n"},
		"double":           {func(p int) []byte { return AppendDouble(nil, p, 0.302) }, "$19\r\n0.30199999999999999\r\n", ",0.30199999999999999\r\n"},
		"whole double":     {func(p int) []byte { return AppendDouble(nil, p, 10) }, "$2\r\n10\r\n", ",10\r\n"},
		"plus infinity":    {func(p int) []byte { return AppendDouble(nil, p, math.Inf(1)) }, "$3\r\ninf\r\n", ",inf\r\n"},
		"minus infinity":   {func(p int) []byte { return AppendDouble(nil, p, math.Inf(-1)) }, "$4\r\n-inf\r\n", ",-inf\r\n"},
		"not a number":     {func(p int) []byte { return AppendDouble(nil, p, math.NaN()) }, "$3\r\nnan\r\n", ",nan\r\n"},
		"unknown protocol": {func(p int) []byte { return AppendNull(nil, p-2) }, "$-1\r\n", "$-1\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.resp2, string(c.append(2)))
			require.Equal(t, c.resp3, string(c.append(3)))
		})
	}
}

// The expected texts were printed by C's printf("%.17g").
func TestAppendDoubleLikePrintf(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", math.Copysign(0, -1): "-0", 0.1: "0.10000000000000001", 3.1: "3.1000000000000001", 100000: "100000",
		1e15: "1000000000000000", 1e16: "10000000000000000", 1e17: "1e+17", 123456789012345680: "1.2345678901234568e+17",
		1e20: "1e+20", 1e100: "1e+100", 0.0001: "0.0001", 0.00001: "1.0000000000000001e-05", -2.5e-8: "-2.4999999999999999e-08",
		math.MaxFloat64: "1.7976931348623157e+308", math.SmallestNonzeroFloat64: "4.9406564584124654e-324",
	} {
		require.Equal(t, ","+want+"\r\n", string(AppendDouble(nil, 3, v)))
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	b := make([]byte, 0, 256)
	text := []byte("value")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		r := AppendMap(b, 3, 2)
		r = AppendBulk(r, text)
		r = AppendDouble(r, 2, 0.1)
		r = AppendError(r, "ERR no")
		r = AppendVerbatim(r, 3, "txt", text)
		_ = r
	}))
}

func TestParse(t *testing.T) {
	in := "|1\r\n+ttl\r\n:3600\r\n%2\r\n$3\r\nkey\r\n*3\r\n:1\r\n$-1\r\n*-1\r\n+set\r\n~4\r\n#t\r\n,1.5\r\n(12\r\n=7\r\nmkd:abc\r\n>1\r\n_\r\n!5\r\nERR x\r\n*0\r\n"
	v, rest, err := Parse([]byte(in))
	require.NoError(t, err)
	require.Equal(t, ">1\r\n_\r\n!5\r\nERR x\r\n*0\r\n", string(rest))
	require.Equal(t, Value{Kind: KindMap, Attributes: []Value{{Kind: KindSimple, Text: []byte("ttl")}, {Kind: KindInt, Int: 3600}}, Elems: []Value{
		{Kind: KindBulk, Text: []byte("key")},
		{Kind: KindArray, Elems: []Value{{Kind: KindInt, Int: 1}, {Kind: KindBulk, Null: true}, {Kind: KindArray, Null: true}}},
		{Kind: KindSimple, Text: []byte("set")},
		{Kind: KindSet, Elems: []Value{{Kind: KindBool, Int: 1}, {Kind: KindDouble, Text: []byte("1.5")}, {Kind: KindBigNumber, Text: []byte("12")},
			{Kind: KindVerbatim, Format: "mkd", Text: []byte("abc")}}},
	}}, v)
	require.Equal(t, "*4\r\n$3\r\nkey\r\n*3\r\n:1\r\n$-1\r\n*-1\r\n+set\r\n*4\r\n:1\r\n$3\r\n1.5\r\n$2\r\n12\r\n$3\r\nabc\r\n", string(v.Append(nil, 2)))
	require.Equal(t, "|1\r\n+ttl\r\n:3600\r\n%2\r\n$3\r\nkey\r\n*3\r\n:1\r\n_\r\n_\r\n+set\r\n~4\r\n#t\r\n,1.5\r\n(12\r\n=7\r\nmkd:abc\r\n", string(v.Append(nil, 3)))

	push, rest, err := Parse(rest)
	require.NoError(t, err)
	require.Equal(t, KindPush, push.Kind)
	require.True(t, push.Elems[0].IsNull())
	bulkError, rest, err := Parse(rest)
	require.NoError(t, err)
	require.Equal(t, "-ERR x\r\n", string(bulkError.Append(nil, 2)))
	require.Equal(t, "!5\r\nERR x\r\n", string(bulkError.Append(nil, 3)))
	empty, rest, err := Parse(rest)
	require.NoError(t, err)
	require.Empty(t, rest)
	require.False(t, empty.IsNull())
	require.Equal(t, "*0\r\n", string(empty.Append(nil, 3)))
}

// An engine's RESP2 reply becomes RESP3 by naming what it is.
func TestConvertEngineReply(t *testing.T) {
	v, _, err := Parse([]byte("*2\r\n$4\r\nname\r\n$-1\r\n"))
	require.NoError(t, err)
	v.Kind = KindMap
	require.Equal(t, "%1\r\n$4\r\nname\r\n_\r\n", string(v.Append(nil, 3)))
	require.Equal(t, "*2\r\n$4\r\nname\r\n$-1\r\n", string(v.Append(nil, 2)))
}

func TestParseErrors(t *testing.T) {
	deep := ""
	for range maxDepth + 2 {
		deep += "*1\r\n"
	}
	for in, want := range map[string]string{
		"hello":                       `expected a reply, got one that begins with 'h'`,
		"hello\r\n":                   `expected a reply, got "hello"`,
		"\r\n":                        "an empty line",
		":x\r\n":                      `got ":x"`,
		"#x\r\n":                      `got "#x"`,
		"_x\r\n":                      `got "_x"`,
		",x\r\n":                      `got ",x"`,
		"$-2\r\n":                     `got "$-2"`,
		"=2\r\nab\r\n":                `got "=2"`,
		"=5\r\nabcde\r\n":             `got "=5"`,
		"$?\r\n":                      `got "$?"`,
		"*-2\r\n":                     `got "*-2"`,
		"*9223372036854775807\r\n":    "expected a reply",
		"$3\r\nabcde":                 "expected a line end after a string of 3 bytes",
		deep + ":1\r\n":               "nested more than 128 deep",
		"*2\r\n:1\r\n:nonsense\r\n":   `got ":nonsense"`,
		"%1\r\n+key\r\n~1\r\nxyz\r\n": `got "xyz"`,
	} {
		_, rest, err := Parse([]byte(in))
		require.ErrorContains(t, err, want, "%q", in)
		require.NotErrorIs(t, err, ErrIncomplete)
		require.Equal(t, in, string(rest))
	}
}

func values() *rapid.Generator[Value] {
	text := rapid.SliceOf(rapid.Byte())
	line := rapid.Map(rapid.StringMatching(`[ -~]*`), func(s string) []byte { return []byte(s) })
	leaf := func(k Kind, g *rapid.Generator[[]byte]) *rapid.Generator[Value] {
		return rapid.Map(g, func(s []byte) Value { return Value{Kind: k, Text: s} })
	}
	leaves := rapid.OneOf(
		leaf(KindSimple, line), leaf(KindError, line), leaf(KindBulk, text), leaf(KindBulkError, text),
		rapid.Map(text, func(s []byte) Value { return Value{Kind: KindVerbatim, Format: "txt", Text: s} }),
		rapid.Map(rapid.Int64(), func(i int64) Value { return Value{Kind: KindInt, Int: i} }),
		rapid.Map(rapid.Int64Range(0, 1), func(i int64) Value { return Value{Kind: KindBool, Int: i} }),
		rapid.Map(rapid.Float64(), func(f float64) Value { return Value{Kind: KindDouble, Text: appendFloat(nil, f)} }),
		rapid.Just(Value{Kind: KindNull}),
	)
	var nested func(depth int) *rapid.Generator[Value]
	nested = func(depth int) *rapid.Generator[Value] {
		if depth == 0 {
			return leaves
		}
		return rapid.OneOf(leaves, rapid.Custom(func(t *rapid.T) Value {
			v := Value{Kind: rapid.SampledFrom([]Kind{KindArray, KindSet, KindPush, KindMap}).Draw(t, "kind")}
			n := rapid.IntRange(0, 4).Draw(t, "n")
			if v.Kind == KindMap {
				n *= 2
			}
			for range n {
				v.Elems = append(v.Elems, nested(depth-1).Draw(t, "element"))
			}
			if rapid.IntRange(0, 5).Draw(t, "attributed") == 0 {
				v.Attributes = []Value{leaves.Draw(t, "name"), leaves.Draw(t, "value")}
			}
			return v
		}))
	}
	return nested(3)
}

// What is appended in RESP3 parses to the same again, is split off at its end, and no beginning of it is a reply.
func TestValueRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := values().Draw(t, "value")
		for _, proto := range []int{2, 3} {
			b := v.Append(nil, proto)
			parsed, rest, err := Parse(append(b, "+next\r\n"...))
			require.NoError(t, err)
			require.Equal(t, "+next\r\n", string(rest))
			require.Equal(t, string(b), string(parsed.Append(nil, proto)))

			reply, rest, err := SplitReply(append(b, "+next\r\n"...))
			require.NoError(t, err)
			require.Equal(t, string(b), string(reply))
			require.Equal(t, "+next\r\n", string(rest))

			for i := range min(len(b), 200) {
				_, _, err := Parse(b[:i])
				require.True(t, errors.Is(err, ErrIncomplete), "%q: %v", b[:i], err)
				_, _, err = SplitReply(b[:i])
				require.ErrorIs(t, err, ErrIncomplete, "%q", b[:i])
			}
		}
	})
}
