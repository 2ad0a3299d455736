package driver

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// libfaketimePlaces are where distributions install the library: Debian and Ubuntu, Fedora, Alpine and Arch, by hand.
var libfaketimePlaces = []string{
	"/usr/lib/*/faketime/libfaketime.so.1",
	"/usr/lib64/faketime/libfaketime.so.1",
	"/usr/lib/faketime/libfaketime.so.1",
	"/usr/local/lib/faketime/libfaketime.so.1",
}

// FindLibfaketime finds the library and tries whether a process that preloads it sees the virtual time. named is a path to use instead of
// looking in the usual places; empty: look. The error says what to do.
func FindLibfaketime(ctx context.Context, named string, v *VirtualTime) (string, error) {
	library := named
	if library == "" {
		for _, pattern := range libfaketimePlaces {
			if found, _ := filepath.Glob(pattern); len(found) > 0 {
				library = found[0]
				break
			}
		}
	}
	if library == "" {
		return "", errors.New("libfaketime was not found: install it (Debian: apt-get install faketime), or name libfaketime.so.1 with --faketime")
	}
	if _, err := os.Stat(library); err != nil {
		return "", fmt.Errorf("libfaketime: %w: name libfaketime.so.1 with --faketime", err)
	}
	return library, tryLibfaketime(ctx, library, v)
}

// tryLibfaketime asks a process for its time. The library keeps time as we tell it to by what it shares with the program faketime, and
// no promise is made about that between its versions.
func tryLibfaketime(ctx context.Context, library string, v *VirtualTime) error {
	env, err := v.Environment(ByLibfaketime, library)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	before := v.clock.Now()
	out, err := command(ctx, []string{"date", "+%s.%N"}, "", env).Output()
	after := v.clock.Now()
	if err != nil {
		return fmt.Errorf("libfaketime: a process that preloads %s failed: %w", library, err)
	}
	text := strings.TrimSpace(string(out))
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return fmt.Errorf("libfaketime: a process that preloads %s was asked for its time and printed %q", library, text)
	}
	whole, part := math.Modf(seconds)
	saw := time.Unix(int64(whole), int64(part*1e9))
	// A second on either side is for the rounding of so large a number, and for a clock of the system that is put right meanwhile.
	if saw.Before(before.Add(-time.Second)) || saw.After(after.Add(time.Second)) {
		return fmt.Errorf("libfaketime: a process that preloads %s saw %s, expected %s to %s: this version keeps its start elsewhere; 0.9.10 is known to work",
			library, saw.UTC().Format(time.RFC3339Nano), before.UTC().Format(time.RFC3339Nano), after.UTC().Format(time.RFC3339Nano))
	}
	return nil
}

// preloaded tells whether the process has mapped the library: a program that is statically linked ignores LD_PRELOAD in silence.
func preloaded(pid int, library string) error {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(library)
	if err != nil {
		return err
	}
	if !strings.Contains(string(maps), real) {
		return fmt.Errorf("it has not loaded %s, as statically linked programs do not, so that its time is not the virtual one", library)
	}
	return nil
}
