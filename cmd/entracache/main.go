// Command entracache checks whether a Redis client library survives Microsoft Entra authentication against Azure Cache for Redis,
// without Azure, and serves the two fakes that it does so with.
//
// The sub-commands are thin: each has a file of its own, and what it does is in the packages.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/entracache/entracache/scenarios"
)

// The exit codes that scripts rely on.
const (
	exitExpected      = 0 // everything as expected
	exitNonconformant = 1 // a library, or the thing asked about, is not as it should be
	exitUsage         = 2 // the command line, a configuration or a feature file is wrong
	exitBroken        = 3 // the harness or a driver broke, or nothing ran
)

// exitError carries an exit code with an error. A nil err means that all has been said already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usageError(err error) error { return &exitError{exitUsage, err} }

// cli is the command line. Every flag of a sub-command can be set in the environment as ENTRACACHE_<FLAG>.
type cli struct {
	Verify      verifyCmd      `cmd:"" help:"Hold client libraries against the scenarios, print the matrix, write the report."`
	Serve       serveCmd       `cmd:"" help:"Serve the fake cache and the fake token issuer until interrupted."`
	Token       tokenCmd       `cmd:"" help:"Sign in to a running pair and print the token."`
	Doctor      doctorCmd      `cmd:"" help:"Check a client driver's protocol manners."`
	Report      reportCmd      `cmd:"" help:"Make other forms of a report.jsonl."`
	Healthcheck healthcheckCmd `cmd:"" help:"Sign in to a running pair, AUTH and PING; exit 0 if all three work."`

	Version kong.VersionFlag `help:"Print the version and exit." env:"-"`
}

const description = `Checks that Redis client libraries keep working against Azure Cache for Redis when they sign in with
Microsoft Entra, without Azure. For tests only: never use it in production.

Exit codes: 0 as expected, 1 nonconformant, 2 usage, 3 the harness or a driver broke or nothing ran.
Every flag can be set in the environment as ENTRACACHE_ and its name: --cache-addr as ENTRACACHE_CACHE_ADDR.`

// streams are what a sub-command may write to.
type streams struct {
	out, err io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], streams{os.Stdout, os.Stderr}))
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, std streams) int {
	// kong asks to exit for --help and --version, from inside the parser.
	type exit int
	exitCode := -1
	parse := func(app *kong.Kong) (kctx *kong.Context, err error) {
		defer func() {
			if r := recover(); r != nil {
				code, ok := r.(exit)
				if !ok {
					panic(r)
				}
				exitCode = int(code)
			}
		}()
		return app.Parse(args)
	}
	var c cli
	app, err := kong.New(&c,
		kong.Name("entracache"),
		kong.Description(description),
		kong.DefaultEnvars("ENTRACACHE"),
		kong.Configuration(loadConfig),
		kong.Vars{
			"version":               version(),
			"default_speed":         fmt.Sprint(scenarios.DefaultSpeed),
			"default_virtual_speed": fmt.Sprint(scenarios.DefaultVirtualSpeed),
			"default_parallel":      fmt.Sprintf("%d, in the virtual lane %d", scenarios.DefaultParallel, scenarios.DefaultVirtualParallel),
		},
		kong.Writers(std.out, std.err),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 120}),
		kong.Exit(func(code int) { panic(exit(code)) }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(std),
	)
	if err != nil {
		fmt.Fprintf(std.err, "entracache: %v\n", err)
		return exitBroken
	}
	kctx, err := parse(app)
	if exitCode >= 0 {
		return exitCode
	}
	if err != nil {
		fmt.Fprintf(std.err, "entracache: %v\nRun \"entracache --help\" or \"entracache COMMAND --help\" for what is possible.\n", err)
		return exitUsage
	}
	err = kctx.Run()
	if err == nil {
		return exitExpected
	}
	code := exitBroken
	var coded *exitError
	if errors.As(err, &coded) {
		code, err = coded.code, coded.err
	}
	if err != nil {
		fmt.Fprintf(std.err, "entracache: %v\n", err)
	}
	return code
}

// version is the module's version, or the commit of a build from a checkout.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}
