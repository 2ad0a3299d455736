package driver

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"mvdan.cc/sh/v3/shell"

	"github.com/entracache/entracache/scenarios/protocol"
)

// Target is something that [Start] can start.
type Target struct {
	// Name is used in errors: the client folder's name, or what stands for it. A command's real name is in its hello.
	Name string

	pinned *Config // nil: nothing is known beforehand about what the driver will declare
	launch func(env []string) (process, error)

	virtual   *VirtualTime // what the process is to see; nil: the real time
	env       map[string]string
	preloaded string // the library that the process is to have loaded
}

// Virtual is the same driver, in a process that sees the virtual time. by is [ByLibfaketime], with the library to preload, or
// [ByOverlay]; then it has to be prepared for that.
func (t Target) Virtual(v *VirtualTime, by, library string) (Target, error) {
	var err error
	t.env, err = v.Environment(by, library)
	t.virtual = v
	if by == ByLibfaketime {
		t.preloaded = library
	}
	return t, err
}

// Target is the client's driver, started from where it was prepared.
func (c *Config) Target(prepared Prepared) Target {
	words := fillIn(c.Command, "{cache}", prepared.Dir)
	return Target{Name: c.Name, pinned: c, launch: func(env []string) (process, error) { return startProcess(words, c.Dir, env) }}
}

// ExecPrefix marks a target that is given as a command.
const ExecPrefix = "exec:"

// Exec is a driver given as a command line, with or without the prefix "exec:". It is split into words as a shell does,
// quotes and variables included, but not run by one, and starts in the current folder.
func Exec(commandLine string) (Target, error) {
	commandLine = strings.TrimPrefix(commandLine, ExecPrefix)
	words, err := shell.Fields(commandLine, nil)
	if err != nil {
		return Target{}, fmt.Errorf("%s%s: cannot be split into words: %w; put the command into a script and name that", ExecPrefix, commandLine, err)
	}
	if len(words) == 0 {
		return Target{}, fmt.Errorf("%s names no command; write %s./my-driver --flag", ExecPrefix, ExecPrefix)
	}
	return Target{
		Name:   filepath.Base(words[0]),
		launch: func(env []string) (process, error) { return startProcess(words, "", env) },
	}, nil
}

// InProcess is a driver that runs as a function in this process, through the same pipes, lines and checks as any other. It
// ends by returning; an error or a panic counts as a crash. It must return when ctx is done or stdin ends, and
// reads its environment with [Getenv].
func InProcess(name string, run func(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error) Target {
	return Target{Name: name, launch: func(env []string) (process, error) { return startFunction(run, env), nil }}
}

// Environment is what a driver's environment gets on top of the harness's own, so that its library trusts the fakes:
// bundle is a PEM file with the CAs of both. A value that is empty is set as empty.
//
// NO_PROXY is part of it because requests, and other HTTP libraries, would hand even loopback addresses to a proxy that
// happens to be configured on the machine.
func Environment(bundle string) map[string]string {
	const loopback = "127.0.0.1,localhost,::1"
	return map[string]string{
		"SSL_CERT_FILE":       bundle,
		"SSL_CERT_DIR":        "",
		"NODE_EXTRA_CA_CERTS": bundle,
		"REQUESTS_CA_BUNDLE":  bundle,
		"CURL_CA_BUNDLE":      bundle,
		"NO_PROXY":            loopback,
		"no_proxy":            loopback,
	}
}

// disagreements are the ways in which a hello contradicts the client.yaml.
func (c *Config) disagreements(hello protocol.Reply) []string {
	var found []string
	if hello.Driver.Name != c.Name {
		found = append(found, fmt.Sprintf("it calls itself %q", hello.Driver.Name))
	}
	if library := hello.Driver.Libraries[0].Name; library != c.Library {
		found = append(found, fmt.Sprintf("its first library is %q where %s has %q", library, ConfigFile, c.Library))
	}
	if version := hello.Driver.Libraries[0].Version; c.Version != "" && strings.TrimPrefix(version, "v") != c.Version {
		found = append(found, fmt.Sprintf("%s is there in version %s, though %s was asked for", c.Library, version, c.Version))
	}
	if extra := without(hello.Capabilities, c.Capabilities); len(extra) > 0 {
		found = append(found, fmt.Sprintf("it declares %s, which %s does not list", join(extra), ConfigFile))
	}
	if missing := without(c.Capabilities, hello.Capabilities); len(missing) > 0 {
		found = append(found, fmt.Sprintf("it does not declare %s, which %s lists", join(missing), ConfigFile))
	}
	return found
}

// without is the members of a that are not in b.
func without[T comparable](a, b []T) []T {
	in := map[T]bool{}
	for _, member := range b {
		in[member] = true
	}
	var rest []T
	for _, member := range a {
		if !in[member] {
			rest = append(rest, member)
		}
	}
	return rest
}
