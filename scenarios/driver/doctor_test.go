package driver

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/scenarios/protocol"
)

func examine(t *testing.T, target Target, open func(string) protocol.Request) map[string]Check {
	t.Helper()
	checks, err := Doctor(bound(t, 60*time.Second), target, DoctorOptions{
		Start: Options{Grace: 300 * time.Millisecond}, Open: open, Patience: 2 * time.Second,
	})
	require.NoError(t, err)
	byName := map[string]Check{}
	for _, check := range checks {
		assert.NotContains(t, byName, check.Name, "each rule once")
		byName[check.Name] = check
		if check.State == CheckFailed {
			assert.NotEmpty(t, check.Why)
			assert.NotEmpty(t, check.Do)
		}
	}
	return byName
}

func TestDoctorFindsNothingWrongWithAnHonestDriver(t *testing.T) {
	t.Parallel()
	checks := examine(t, honest().target(), accessKeyOpen)
	assert.Len(t, checks, 19)
	for name, check := range checks {
		if strings.HasPrefix(name, "agrees with its") {
			assert.Equal(t, CheckSkipped, check.State, check.Why)
			continue
		}
		assert.Equal(t, CheckOK, check.State, "%s: %s", name, check.Why)
	}
}

func TestDoctorExaminesAProcess(t *testing.T) {
	for name, check := range examine(t, helperTarget(t, "honest"), nil) {
		assert.NotEqual(t, CheckFailed, check.State, "%s: %s", name, check.Why)
	}
}

// Each bad habit is found by the rule that is meant for it, and no other rule is held against the driver.
func TestDoctorFindsEachBadHabit(t *testing.T) {
	mutate := func(change func(*stub)) *stub {
		s := honest()
		change(s)
		return s
	}
	answer := func(op protocol.Op, raw func(r protocol.Request) []byte) func(*stub) {
		return func(s *stub) {
			s.hook = func(run *session, r protocol.Request) bool {
				if r.Op == op {
					run.write(raw(r))
				}
				return r.Op == op
			}
		}
	}
	swallow := func(want func(protocol.Request) bool) func(*stub) {
		return func(s *stub) { s.hook = func(_ *session, r protocol.Request) bool { return want(r) } }
	}
	for name, test := range map[string]struct {
		stub  *stub
		rules []string // beginnings of the names of those that fail
		why   string
	}{
		"liar":          {mutate(func(s *stub) { s.liar = true }), []string{"answers unsupported to an unknown op", "answers unsupported to an unknown credential"}, "answered ok"},
		"any protocol":  {mutate(func(s *stub) { s.anyProtocol = true }), []string{"refuses another protocol"}, "answered ok; expected an error of kind unsupported"},
		"serial":        {mutate(func(s *stub) { s.serial = true }), []string{"answers others while", "does not let a blocking"}, ""},
		"short lines":   {mutate(func(s *stub) { s.limit = 64 << 10 }), []string{"reads lines of up to 1 MiB"}, "token too long"},
		"forgetful":     {mutate(func(s *stub) { s.forgetful = true }), []string{"answers closed for", "ignores members", "reads lines", "forgets a closed"}, ""},
		"stubborn":      {mutate(func(s *stub) { s.stubborn = true }), []string{"ends with status 0 after", "ends when its standard input"}, ""},
		"exit code":     {mutate(func(s *stub) { s.exitCode = errors.New("3") }), []string{"ends with status 0 after", "ends when its standard input"}, "where 0 was expected"},
		"no version":    {mutate(func(s *stub) { s.versions = "unknown" }), []string{"names its library's version"}, `"unknown", which is none`},
		"no credential": {mutate(func(s *stub) { s.capabilities = []protocol.Capability{protocol.CapRESP2} }), []string{"can sign in"}, ""},
		"untyped error": {mutate(answer(protocol.OpCommand, func(r protocol.Request) []byte {
			line, _ := protocol.EncodeReply(r.Op, protocol.Reply{ID: r.ID, Error: &protocol.Error{Kind: protocol.KindClosed, Message: "ERR"}})
			return line
		})), []string{"opens a client and runs", "reports a server's error", "does not let a blocking", "delivers published"}, ""},
		"quiet channel": {mutate(func(s *stub) {
			s.hook = func(run *session, r protocol.Request) bool { // takes the subscription but never delivers
				if r.Op == protocol.OpSubscribe && r.Client != "nobody" {
					run.answer(r, protocol.Reply{OK: true})
					return true
				}
				return false
			}
		}), []string{"delivers published"}, "no message event"},
		"no subscribe": {mutate(swallow(func(r protocol.Request) bool { return r.Op == protocol.OpSubscribe && r.Client != "nobody" })), []string{"delivers published"}, "did not answer subscribe"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var failed []string
			var open func(string) protocol.Request
			for _, rule := range test.rules {
				if slices.ContainsFunc([]string{"does not let", "delivers", "forgets"}, func(begin string) bool { return strings.HasPrefix(rule, begin) }) {
					open = accessKeyOpen // the checks with a cache take longer
				}
			}
			for _, check := range examine(t, test.stub.target(), open) {
				if check.State != CheckFailed {
					continue
				}
				failed = append(failed, check.Name+": "+check.Why)
				assert.Contains(t, check.Why, test.why, check.Name)
			}
			assert.Len(t, failed, len(test.rules), "%s", strings.Join(failed, "\n"))
			for _, rule := range test.rules {
				assert.True(t, anyHasPrefix(failed, rule), "%q must fail; failed:\n%s", rule, strings.Join(failed, "\n"))
			}
		})
	}
}

func anyHasPrefix(list []string, prefix string) bool {
	for _, text := range list {
		if strings.HasPrefix(text, prefix) {
			return true
		}
	}
	return false
}

func TestDoctorHearsWhatDoesNotBelongOnStdout(t *testing.T) {
	s := honest()
	s.chatty = "Server listening"
	checks := examine(t, s.target(), nil)
	assert.Equal(t, CheckFailed, checks["answers hello"].State)
	quiet := checks["keeps its standard output for the protocol"]
	assert.Equal(t, CheckFailed, quiet.State, "%+v", quiet)
	assert.Contains(t, quiet.Why, "Server listening")
	assert.Equal(t, CheckSkipped, checks["reads lines of up to 1 MiB"].State)

	s = honest()
	s.hook = func(run *session, r protocol.Request) bool {
		if r.Op == protocol.OpClose {
			run.write([]byte("closing\n"))
		}
		return false
	}
	checks = examine(t, s.target(), nil)
	assert.Equal(t, CheckOK, checks["answers hello"].State)
	assert.Equal(t, CheckFailed, checks["keeps its standard output for the protocol"].State)
	assert.Equal(t, CheckOK, checks["ends when its standard input ends"].State, "a broken driver is started anew")
}

func TestDoctorComparesWithTheConfig(t *testing.T) {
	target := honest().target()
	target.pinned = &Config{Name: "stub", Library: "example.org/library", Capabilities: honest().capabilities[1:]}
	check := examine(t, target, nil)["agrees with its client.yaml"]
	assert.Equal(t, CheckFailed, check.State)
	assert.Contains(t, check.Why, "it declares credential:access-key, which client.yaml does not list")
}

func TestDoctorOfSomethingThatCannotStart(t *testing.T) {
	target, err := Exec(os.DevNull)
	require.NoError(t, err)
	checks := examine(t, target, nil)
	assert.Equal(t, CheckFailed, checks["answers hello"].State)
	assert.Contains(t, checks["answers hello"].Why, "cannot be started")
}
