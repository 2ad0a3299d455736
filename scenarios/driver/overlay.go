package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// overlayVariable tells a Go program that was built with the overlay how fast its time passes, and from when: a whole number, and
// nanoseconds on the system's real and on its monotonic clock.
const overlayVariable = "ENTRACACHE_VIRTUAL_TIME"

// patch replaces a piece of a file of the Go runtime.
type patch struct{ file, old, new string }

// overlayPatches make the clock of a Go program faster: whoever asks for the time gets more, and whoever waits waits less. They are the
// only doors through which the runtime reads the clock, and waits for timers, on Linux; usleep, by which its threads yield to each other,
// stays real. Each old text must be in its file exactly once.
var overlayPatches = []patch{
	{"time_nofake.go", "func nanotime() int64 {\n\treturn nanotime1()\n}\n", `func nanotime() int64 {
	mono := nanotime1()
	if virtualSpeed == 0 {
		return mono
	}
	return virtualMonotonic + (mono-virtualMonotonic)*virtualSpeed
}

// Virtual time: virtualSpeed is 0 until the environment is known. It is then a whole number, and from the other two moments on time
// passes so much faster.
var virtualSpeed, virtualReal, virtualMonotonic int64

func virtualStart() {
	var numbers [3]int64
	text, i := gogetenv("` + overlayVariable + `"), 0
	for _, c := range []byte(text) {
		if c == ' ' {
			i++
		} else {
			numbers[i] = numbers[i]*10 + int64(c-'0')
		}
	}
	virtualReal, virtualMonotonic = numbers[1], numbers[2]
	virtualSpeed = numbers[0]
}

func virtualWall(sec int64, nsec int32) (int64, int32) {
	if virtualSpeed == 0 {
		return sec, nsec
	}
	t := virtualReal + (sec*1e9+int64(nsec)-virtualReal)*virtualSpeed
	return t / 1e9, int32(t % 1e9)
}

// virtualWait is how long to wait in real time; 0 and less have meanings of their own.
//
//go:nosplit
func virtualWait(ns int64) int64 {
	if ns <= 0 || virtualSpeed == 0 {
		return ns
	}
	return ns/virtualSpeed + 1
}
`},
	{"time.go", "\treturn time_now()\n}\n", "\tsec, nsec, _ = time_now()\n\tsec, nsec = virtualWall(sec, nsec)\n\treturn sec, nsec, nanotime()\n}\n"},
	{"os_linux.go", "\tvar ts timespec\n\tts.setNsec(ns)\n\tfutex(", "\tvar ts timespec\n\tts.setNsec(virtualWait(ns))\n\tfutex("},
	{"os_linux.go", "func goenvs() {\n\tgoenvs_unix()\n}\n", "func goenvs() {\n\tgoenvs_unix()\n\tvirtualStart()\n}\n"},
	{"netpoll_epoll.go", "\tvar waitms int32\n\tif delay < 0 {\n", "\tdelay = virtualWait(delay)\n\tvar waitms int32\n\tif delay < 0 {\n"},
}

// overlayFiles are the patched files of the Go installation at goroot, by name.
func overlayFiles(goroot string) (map[string][]byte, error) {
	if runtime.GOOS != "linux" {
		return nil, errNoVirtualTime
	}
	dir := filepath.Join(goroot, "src", "runtime")
	texts := map[string]string{}
	for _, p := range overlayPatches {
		text, read := texts[p.file]
		if !read {
			raw, err := os.ReadFile(filepath.Join(dir, p.file))
			if err != nil {
				return nil, fmt.Errorf("the Go runtime of %s: %w", goVersion(goroot), err)
			}
			text = string(raw)
		}
		if n := strings.Count(text, p.old); n != 1 {
			return nil, fmt.Errorf("the Go runtime of %s cannot be sped up: expected once in its %s, found %d times: %q; go1.26 is known to work, use the scaled lane meanwhile",
				goVersion(goroot), p.file, n, p.old)
		}
		texts[p.file] = strings.Replace(text, p.old, p.new, 1)
	}
	files := map[string][]byte{}
	for name, text := range texts {
		files[name] = []byte(text)
	}
	return files, nil
}

// goVersion is the version that a Go installation says of itself, or its path.
func goVersion(goroot string) string {
	text, err := os.ReadFile(filepath.Join(goroot, "VERSION"))
	if err != nil {
		return goroot
	}
	version, _, _ := strings.Cut(string(text), "\n")
	return version
}

// gorootOf is the Go installation that builds in a folder: a go.mod may ask for another than the one in PATH.
func gorootOf(ctx context.Context, dir string) (string, error) {
	out, err := command(ctx, []string{"go", "env", "GOROOT"}, dir, nil).Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT in %s: %w", dir, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// writeOverlay writes the patched files and what go build -overlay wants to know of them. It returns the environment in which every
// go build uses them.
func writeOverlay(dir, goroot string, files map[string][]byte) (map[string]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	replace := map[string]string{}
	for name, text := range files {
		patched := filepath.Join(dir, name)
		if err := os.WriteFile(patched, text, 0o644); err != nil {
			return nil, err
		}
		replace[filepath.Join(goroot, "src", "runtime", name)] = patched
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return nil, err
	}
	// Quotes, for a path may have spaces.
	return map[string]string{"GOFLAGS": strings.TrimSpace(os.Getenv("GOFLAGS") + " '-overlay=" + file + "'")}, nil
}

// digest is what the overlay adds to the key of a prepared folder.
func digest(files map[string][]byte) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&b, "overlay %s %d\n%s", name, len(files[name]), files[name])
	}
	return b.String()
}
