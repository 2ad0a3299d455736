package driver

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/entracache/entracache/scenarios/protocol"
)

// Runtime is a language's runtime as found on this machine.
type Runtime struct {
	Output  string // all that the version command printed, trimmed
	Version string // the first version number in it
}

// probeTimeout is long because a version manager's shim may read its whole installation first.
const probeTimeout = 30 * time.Second

var versionInText = regexp.MustCompile(`[0-9]+(\.[0-9]+)+|[0-9]+`)

// download says where a runtime is to be had, by the command that the client asks for.
var download = map[string]string{
	"go":      "https://go.dev/dl/",
	"python3": "https://www.python.org/downloads/",
	"python":  "https://www.python.org/downloads/",
	"node":    "https://nodejs.org/en/download",
	"npm":     "https://nodejs.org/en/download",
	"java":    "https://adoptium.net/",
	"javac":   "https://adoptium.net/ (a JDK; a JRE is not enough)",
	"mvn":     "https://maven.apache.org/download.cgi",
	"dotnet":  "https://dotnet.microsoft.com/download",
	"cargo":   "https://rustup.rs/",
	"rustc":   "https://rustup.rs/",
}

// Probe looks for the client's runtime, and for the programs that prepare the client. If one is missing, or the runtime is too old or
// broken, the error is an [*AbsentError].
func (c *Config) Probe(ctx context.Context) (Runtime, error) {
	words := c.Runtime.Command
	needs := "needs " + c.Language
	if c.Runtime.Minimum != "" {
		needs += " " + c.Runtime.Minimum + " or newer"
	}
	needs += " (" + strings.Join(words, " ") + ")"
	absent := func(found, advice string) (Runtime, error) {
		return Runtime{}, &AbsentError{Client: c.Name, Reason: needs + ": " + found + "; " + advice}
	}
	install := installing(words[0])
	probing, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	cmd := command(probing, words, c.Dir, nil)
	out, err := cmd.CombinedOutput()
	runtime := Runtime{Output: strings.TrimSpace(string(out))}
	switch {
	case ctx.Err() != nil:
		return Runtime{}, context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound) || cmd.Process == nil:
		return absent(fmt.Sprintf("%q was not found", words[0]), install)
	case probing.Err() != nil:
		return absent(fmt.Sprintf("it did not answer within %s", probeTimeout), "see why by running it by hand")
	case err != nil:
		return absent(fmt.Sprintf("it failed (%v) and printed %q", err, protocol.Show([]byte(runtime.Output))), install)
	}
	runtime.Version = versionInText.FindString(runtime.Output)
	if runtime.Version == "" {
		return absent(fmt.Sprintf("it printed no version but %q", protocol.Show([]byte(runtime.Output))), install)
	}
	if c.Runtime.Minimum != "" && olderThan(runtime.Version, c.Runtime.Minimum) {
		return absent("found "+runtime.Version, install)
	}
	for _, step := range c.Steps {
		program := step[0]
		if strings.ContainsAny(program, `/\{`) { // an earlier step makes it
			continue
		}
		if _, err := exec.LookPath(program); err != nil {
			needs = fmt.Sprintf("needs %s to be prepared (%s)", program, strings.Join(step, " "))
			return absent(fmt.Sprintf("%q was not found", program), installing(program))
		}
	}
	return runtime, nil
}

func installing(program string) string {
	advice := "install it and put it in PATH"
	if from, ok := download[filepath.Base(program)]; ok {
		advice += ", from " + from
	}
	return advice
}

// olderThan compares dotted numbers part by part; a missing part counts as 0.
func olderThan(version, minimum string) bool {
	have, want := strings.Split(version, "."), strings.Split(minimum, ".")
	for i := range max(len(have), len(want)) {
		h, w := part(have, i), part(want, i)
		if h != w {
			return h < w
		}
	}
	return false
}

func part(parts []string, i int) int {
	if i >= len(parts) {
		return 0
	}
	n, err := strconv.Atoi(parts[i])
	if err != nil { // digits beyond an int: as new as can be
		return int(^uint(0) >> 1)
	}
	return n
}
