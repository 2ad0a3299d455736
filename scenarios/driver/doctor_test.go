package driver

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/entracache/entracache/scenarios/protocol"
)

func examine(t *testing.T, target Target, open func(string) protocol.Request) map[string]Check {
	t.Helper()
	checks, err := Doctor(bound(t, 60*time.Second), target, DoctorOptions{
		Start: Options{Grace: time.Second}, Open: open, Patience: 8 * time.Second,
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
	assert.Len(t, checks, 20)
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
	type habit struct {
		stub   *stub
		cache  bool     // runs the checks with a cache too
		rules  []string // beginnings of the names of those that fail
		why    string
		checks []Check
		err    error
	}
	tests := map[string]*habit{
		"liar":          {stub: mutate(func(s *stub) { s.liar = true }), rules: []string{"answers unsupported to an unknown op", "answers unsupported to an unknown credential"}, why: "answered ok"},
		"any protocol":  {stub: mutate(func(s *stub) { s.anyProtocol = true }), rules: []string{"refuses another protocol"}, why: "answered ok; expected an error of kind unsupported"},
		"serial":        {stub: mutate(func(s *stub) { s.serial = true }), cache: true, rules: []string{"answers others while", "does not let a blocking"}},
		"short lines":   {stub: mutate(func(s *stub) { s.limit = 64 << 10 }), rules: []string{"reads lines of up to 1 MiB"}, why: "token too long"},
		"forgetful":     {stub: mutate(func(s *stub) { s.forgetful = true }), cache: true, rules: []string{"answers closed for", "ignores members", "reads lines", "forgets a closed"}},
		"stubborn":      {stub: mutate(func(s *stub) { s.stubborn = true }), rules: []string{"ends with status 0 after", "ends when its standard input"}},
		"exit code":     {stub: mutate(func(s *stub) { s.exitCode = errors.New("3") }), rules: []string{"ends with status 0 after", "ends when its standard input"}, why: "where 0 was expected"},
		"no version":    {stub: mutate(func(s *stub) { s.versions = "unknown" }), rules: []string{"names its library's version"}, why: `"unknown", which is none`},
		"no credential": {stub: mutate(func(s *stub) { s.capabilities = []protocol.Capability{protocol.CapRESP2} }), rules: []string{"can sign in"}},
		"untyped error": {cache: true, stub: mutate(answer(protocol.OpCommand, func(r protocol.Request) []byte {
			line, _ := protocol.EncodeReply(r.Op, protocol.Reply{ID: r.ID, Error: &protocol.Error{Kind: protocol.KindClosed, Message: "ERR"}})
			return line
		})), rules: []string{"opens a client and runs", "reports a server's error", "does not let a blocking", "delivers published"}},
		"quiet channel": {cache: true, stub: mutate(func(s *stub) {
			s.hook = func(run *session, r protocol.Request) bool { // takes the subscription but never delivers
				if r.Op == protocol.OpSubscribe && r.Client != "nobody" {
					run.answer(r, protocol.Reply{OK: true})
					return true
				}
				return false
			}
		}), rules: []string{"delivers published"}, why: "no message event"},
		"no transaction": {cache: true, stub: mutate(answer(protocol.OpExec, func(r protocol.Request) []byte {
			value := protocol.Null()
			line, _ := protocol.EncodeReply(r.Op, protocol.Reply{ID: r.ID, OK: true, Value: &value})
			return line
		})), rules: []string{"answers closed for", "runs transactions"}},
		"no subscribe": {cache: true, stub: mutate(swallow(func(r protocol.Request) bool { return r.Op == protocol.OpSubscribe && r.Client != "nobody" })), rules: []string{"delivers published"}, why: "did not answer subscribe"},
	}
	// They spend most of their time waiting, so several run at once, however few processors there are.
	var group errgroup.Group
	group.SetLimit(8)
	for _, test := range tests {
		group.Go(func() error {
			options := DoctorOptions{Start: Options{Grace: time.Second}, Patience: 8 * time.Second}
			if test.cache {
				options.Open = accessKeyOpen
			}
			test.checks, test.err = Doctor(bound(t, 2*time.Minute), test.stub.target(), options)
			return nil // each subtest looks at its own error
		})
	}
	_ = group.Wait()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, test.err)
			var failed []string
			for _, check := range test.checks {
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
	assert.Contains(t, checks["answers hello"].Do, "Run the command by hand")
}
