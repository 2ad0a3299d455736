package fakeserver_test

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/fakeserver/internal/command/redistest"
	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// The scripts in testdata/differ are put to a real redis-server 7.0 and to the fake of profile oss-7.0, step by step, and what
// comes back is compared. A line is a step:
//
//	resp 2 3            play the script in these versions of the protocol (first line; else in version 2)
//	a> GET key          connection a, which is opened when it is first named, sends a command; its reply is compared
//	a! BLPOP key 0      the same, without waiting for a reply
//	a<                  one more reply, or a message, that a gets
//	a-                  a gets nothing
//	a.                  a is closed by the server
//	a/                  a goes away
//	blocked 2           wait until two clients are blocked
//
// A word with spaces or other odd bytes in it is written as a Go string. What follows a | says how the replies are compared:
//
//	exact               byte by byte; this is so without a word
//	sorted              the elements in any order; of a map, its pairs
//	pairs               a flat array of names and values in any order
//	deep                the elements in any order on every level
//	words               the words of its texts in any order
//	numbers             whatever the numbers in it are (a shape)
//	fields              whatever the values of "name=value" and "name:value" are (a shape)
//	kinds               whatever the strings and numbers are (a shape)
//	as x                kinds; $x stands for the reply from now on, on each side for its own
//	take x REGEX        kinds; $x stands for what the group in the regular expression matches
//	match REGEX         both replies, as they are shown here, match
//	differs REASON      the two must differ, by a limit that the reason names; the README lists the reasons
const differDir = "testdata/differ"

type differScript struct {
	name   string
	protos []int
	steps  []differStep
}

type differStep struct {
	line    int
	text    string
	conn    string
	do      byte // > ! < - . / or b for "blocked"
	words   []string
	modes   []string
	name    string // of a variable
	pattern *regexp.Regexp
	reason  string
}

func differScripts(t *testing.T) []differScript {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(differDir, "*.txt"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	var scripts []differScript
	for _, path := range paths {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		s, err := readDiffer(strings.TrimSuffix(filepath.Base(path), ".txt"), string(data))
		require.NoError(t, err)
		scripts = append(scripts, s)
	}
	return scripts
}

func readDiffer(name, text string) (differScript, error) {
	s := differScript{name: name, protos: []int{2}}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		wrong := func(format string, args ...any) (differScript, error) {
			return s, fmt.Errorf("%s.txt:%d: %s: %s", name, number, line, fmt.Sprintf(format, args...))
		}
		if protos, ok := strings.CutPrefix(line, "resp "); ok {
			s.protos = nil
			for word := range strings.FieldsSeq(protos) {
				n, err := strconv.Atoi(word)
				if err != nil || n != 2 && n != 3 {
					return wrong("expected versions 2 and 3")
				}
				s.protos = append(s.protos, n)
			}
			continue
		}
		step := differStep{line: number, text: line}
		call, how := line, ""
		if at := strings.LastIndex(line, " | "); at >= 0 {
			call, how = line[:at], line[at+3:]
		}
		if err := step.compareBy(strings.TrimSpace(how)); err != nil {
			return wrong("%v", err)
		}
		words, err := splitWords(call)
		if err != nil {
			return wrong("%v", err)
		}
		switch head := words[0]; {
		case head == "blocked" && len(words) == 2:
			step.do, step.words = 'b', words[1:]
		case len(head) < 2 || !strings.Contains(">!<-./", head[len(head)-1:]):
			return wrong("expected a connection and what it does, such as a>")
		default:
			step.conn, step.do, step.words = head[:len(head)-1], head[len(head)-1], words[1:]
			if takesWords := step.do == '>' || step.do == '!'; takesWords != (len(step.words) > 0) {
				return wrong("a command belongs behind > and !, and nowhere else")
			}
		}
		s.steps = append(s.steps, step)
	}
	return s, nil
}

func (s *differStep) compareBy(how string) (err error) {
	first, rest, _ := strings.Cut(how, " ")
	switch first {
	case "":
	case "differs":
		if s.reason = rest; rest == "" {
			return fmt.Errorf("differs wants a reason")
		}
	case "as":
		s.name, s.pattern = rest, regexp.MustCompile(`^(?s).(?:txt:|mkd:)?"?(.*?)"?$`)
	case "take":
		var expression string
		s.name, expression, _ = strings.Cut(rest, " ")
		s.pattern, err = regexp.Compile(expression)
		if err == nil && s.pattern.NumSubexp() != 1 {
			err = fmt.Errorf("take wants a regular expression with one group")
		}
	case "match":
		s.pattern, err = regexp.Compile(rest)
	default:
		s.modes = strings.Fields(how)
		for _, mode := range s.modes {
			if !slices.Contains([]string{"exact", "sorted", "pairs", "deep", "words", "numbers", "fields", "kinds"}, mode) {
				return fmt.Errorf("unknown way of comparing %q", mode)
			}
		}
	}
	return err
}

// splitWords splits at spaces; a word that begins with a quote is a Go string.
func splitWords(line string) ([]string, error) {
	var words []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimLeft(line, " ") {
		if line[0] != '"' {
			word, rest, _ := strings.Cut(line, " ")
			words, line = append(words, word), rest
			continue
		}
		quoted, err := strconv.QuotedPrefix(line)
		if err != nil {
			return nil, fmt.Errorf("expected a Go string at %s", line)
		}
		word, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, err
		}
		words, line = append(words, word), line[len(quoted):]
	}
	return words, nil
}

// differSide is one of the two servers.
type differSide struct {
	t     *testing.T
	addr  string
	proto int
	conns map[string]*client
	vars  map[string]string
	admin *client
}

func (s *differSide) dial() *client {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	require.NoError(s.t, err)
	return newClient(s.t, conn)
}

func (s *differSide) conn(name string) *client {
	s.t.Helper()
	c := s.conns[name]
	if c == nil {
		c = s.dial()
		s.conns[name] = c
		if s.proto == 3 {
			c.do("HELLO", "3")
		}
	}
	return c
}

// play does a step and returns what came of it: a raw reply, or words about the connection.
func (s *differSide) play(step *differStep) string {
	s.t.Helper()
	if step.do == 'b' {
		want := "blocked_clients:" + step.words[0] + "\r\n"
		deadline := time.Now().Add(patience)
		for !strings.Contains(s.admin.do("INFO", "clients"), want) {
			if time.Now().After(deadline) {
				return "not blocked: " + s.admin.do("INFO", "clients")
			}
			time.Sleep(time.Millisecond)
		}
		return "blocked"
	}
	c := s.conn(step.conn)
	switch step.do {
	case '>', '!':
		args := make([]string, len(step.words))
		for i, word := range step.words {
			args[i] = s.expand(word)
		}
		if _, err := c.conn.Write([]byte(array(args...))); err != nil {
			return "closed"
		}
		if step.do == '!' {
			return "sent"
		}
		return next(c, answerBound)
	case '<', '.':
		return next(c, answerBound)
	case '-':
		return next(c, briefly)
	default:
		_ = c.conn.Close()
		delete(s.conns, step.conn)
		return "gone"
	}
}

var variable = regexp.MustCompile(`\$[a-z]\w*`)

func (s *differSide) expand(word string) string {
	return variable.ReplaceAllStringFunc(word, func(name string) string {
		if value, ok := s.vars[name[1:]]; ok {
			return value
		}
		return name
	})
}

func next(c *client, wait time.Duration) string {
	reply, err := c.next(wait)
	switch {
	case err == nil:
		return reply
	case os.IsTimeout(err):
		return "nothing"
	default:
		return "closed"
	}
}

// shown writes a reply in lines that can be read, changed by the modes.
func shown(t *testing.T, raw string, modes []string) string {
	t.Helper()
	switch raw {
	case "closed", "nothing", "sent", "gone", "blocked":
		return raw
	}
	v, rest, err := resp.Parse([]byte(raw))
	if err != nil || len(rest) > 0 {
		return fmt.Sprintf("%q (%v)", raw, err)
	}
	return strings.Join(showValue(v, modes, true), "\n")
}

var (
	digits    = regexp.MustCompile(`-?\d+(\.\d+)?`)
	fieldText = regexp.MustCompile(`([A-Za-z0-9_.\-]+)([:=])[^\s,]*`)
)

func showValue(v resp.Value, modes []string, top bool) []string {
	has := func(mode string) bool { return slices.Contains(modes, mode) }
	kind := string(rune(v.Kind))
	if v.Elems == nil {
		text := string(v.Text)
		switch {
		case v.IsNull():
			return []string{kind + " null"}
		case has("kinds"):
			return []string{kind}
		case v.Kind == resp.KindInt || v.Kind == resp.KindBool:
			text = strconv.FormatInt(v.Int, 10)
			if has("numbers") {
				text = "N"
			}
			return []string{kind + text}
		case v.Kind == resp.KindArray || v.Kind == resp.KindMap || v.Kind == resp.KindSet || v.Kind == resp.KindPush:
			return []string{kind + "0"}
		}
		if has("fields") {
			text = fieldText.ReplaceAllString(text, "$1$2")
		}
		if has("words") {
			list := strings.Fields(text)
			slices.Sort(list)
			text = strings.Join(list, " ")
		}
		if has("numbers") {
			text = digits.ReplaceAllString(text, "N")
		}
		if v.Kind == resp.KindError || v.Kind == resp.KindSimple {
			return []string{kind + text}
		}
		if v.Kind == resp.KindVerbatim {
			kind += v.Format + ":"
		}
		return []string{kind + strconv.Quote(text)}
	}
	// Each element is a block of lines; those that belong together move together.
	var blocks [][]string
	for _, e := range v.Elems {
		block := showValue(e, modes, false)
		for i := range block {
			block[i] = "  " + block[i]
		}
		blocks = append(blocks, block)
	}
	width := 1
	if v.Kind == resp.KindMap || top && has("pairs") {
		width = 2
	}
	if has("deep") || top && (has("sorted") || has("pairs")) {
		var units [][]string
		for unit := range slices.Chunk(blocks, width) {
			units = append(units, slices.Concat(unit...))
		}
		slices.SortFunc(units, func(a, b []string) int { return cmp.Compare(strings.Join(a, "\n"), strings.Join(b, "\n")) })
		blocks = units
	}
	return append([]string{kind + strconv.Itoa(len(v.Elems))}, slices.Concat(blocks...)...)
}

// compare says whether the replies are as the step wants them.
func (s *differStep) compare(t *testing.T, real, fake string) {
	t.Helper()
	var fine bool
	shape := func(modes ...string) bool { return shown(t, real, modes) == shown(t, fake, modes) }
	switch {
	case s.do == '.':
		fine = real == "closed" && fake == "closed"
	case s.do == '-':
		fine = real == "nothing" && fake == "nothing"
	case s.reason != "":
		fine = real != fake
	case s.name != "":
		fine = shape("kinds")
	case s.pattern != nil:
		fine = s.pattern.MatchString(shown(t, real, nil)) && s.pattern.MatchString(shown(t, fake, nil))
	case s.modes == nil || slices.Contains(s.modes, "exact"):
		fine = real == fake
	default:
		fine = shape(s.modes...)
	}
	if !fine {
		t.Errorf("line %d: %s\nthe real server: %s\nthe fake:        %s", s.line, s.text, shown(t, real, s.modes), shown(t, fake, s.modes))
	}
}

// answerBound is how long a step waits for what comes.
const answerBound = patience

// overTCP makes the real server listen on a port of the loopback interface, so that connections have addresses of their own.
func overTCP(t *testing.T, real *redis.Client) (addr string) {
	t.Helper()
	const attempts = 10
	var err error
	for range attempts {
		l, listenErr := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, listenErr)
		addr = l.Addr().String()
		_, port, _ := net.SplitHostPort(addr)
		require.NoError(t, l.Close())
		// Somebody may have taken the port meanwhile.
		if err = real.Do(t.Context(), "CONFIG", "SET", "bind", "127.0.0.1", "port", port).Err(); err == nil {
			return addr
		}
	}
	require.NoError(t, err)
	return ""
}

// TestAgainstRealServer plays every script.
func TestAgainstRealServer(t *testing.T) {
	t.Parallel()
	for _, script := range differScripts(t) {
		for _, proto := range script.protos {
			t.Run(fmt.Sprintf("%s/resp%d", script.name, proto), func(t *testing.T) {
				t.Parallel()
				side := func(addr string) *differSide {
					s := &differSide{t: t, addr: addr, proto: proto, conns: map[string]*client{}, vars: map[string]string{}}
					s.admin = s.dial()
					s.admin.do("PING")
					return s
				}
				real := side(overTCP(t, redistest.Start(t)))
				fake := side(open(t, fakeserver.ProfileOSS70).PlainAddr())
				for i := range script.steps {
					step := &script.steps[i]
					theirs, ours := real.play(step), fake.play(step)
					step.compare(t, theirs, ours)
					if step.name != "" {
						real.vars[step.name], fake.vars[step.name] = step.take(t, theirs), step.take(t, ours)
					}
					if step.do != '-' && (theirs == "nothing" || ours == "nothing") {
						t.Fatalf("line %d: %s: expected an answer of both, got none of one; the rest would be about something else", step.line, step.text)
					}
				}
			})
		}
	}
}

func (s *differStep) take(t *testing.T, raw string) string {
	t.Helper()
	text := shown(t, raw, nil)
	found := s.pattern.FindStringSubmatch(text)
	require.NotNil(t, found, "line %d: %s: no match in %s", s.line, s.text, text)
	return found[1]
}

// TestKnownDifferences keeps the README's list of what the scripts declare to differ.
func TestKnownDifferences(t *testing.T) {
	t.Parallel()
	const (
		readme = "../README.md"
		begin  = "<!-- differences: kept by fakeserver/differ_test.go -->"
		end    = "<!-- end of differences -->"
	)
	var want []string
	for _, script := range differScripts(t) {
		for _, step := range script.steps {
			if line := "- " + step.reason; step.reason != "" && !slices.Contains(want, line) {
				want = append(want, line)
			}
		}
	}
	slices.Sort(want)
	data, err := os.ReadFile(readme)
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(data), begin)
	require.True(t, found, "%s has no line %q", readme, begin)
	section, _, found := strings.Cut(rest, end)
	require.True(t, found, "%s has no line %q", readme, end)
	assert.Equal(t, strings.Join(want, "\n"), strings.TrimSpace(section), "expected is what the scripts declare, actual is %s", readme)
}

// TestDifferScriptsAreChecked: a mistake in a script is an error, not a step that compares nothing.
func TestDifferScriptsAreChecked(t *testing.T) {
	t.Parallel()
	for script, message := range map[string]string{
		"a> PING | sortd":     `unknown way of comparing "sortd"`,
		"a> PING | differs":   "reason",
		"a PING":              "expected a connection",
		"a>":                  "a command belongs behind",
		"a< PING":             "a command belongs behind",
		"resp 4":              "expected versions",
		`a> ECHO "x`:          "expected a Go string",
		"a> PING | take x a":  "one group",
		"a> PING | take x a(": "missing closing",
		"blocked":             "expected a connection",
	} {
		_, err := readDiffer("x", script)
		assert.ErrorContains(t, err, message, script)
	}
	s, err := readDiffer("x", "resp 2 3\n# c\n\na> ECHO \"a | \\x00\" b | sorted numbers\na.\n")
	require.NoError(t, err)
	assert.Equal(t, []int{2, 3}, s.protos)
	require.Len(t, s.steps, 2)
	assert.Equal(t, []string{"ECHO", "a | \x00", "b"}, s.steps[0].words)
}
