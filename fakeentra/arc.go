package fakeentra

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"github.com/google/uuid"
)

// maxArcKeys is how many key files there are at a time. A client reads its file
// at once; the limit is for those that never do.
const maxArcKeys = 16

// ArcKeyFolder is the folder in which the agent of Azure Arc puts its key files on
// this operating system, or "" if there is no such agent for it. MSAL and Azure
// Identity read a key file from no other folder (MSAL for Go, getAzureArcSecretKey;
// MSAL for Python looks for the file's name there, whatever folder the challenge
// names), so that only somebody who may write to it, usually root, can make them
// sign in with Arc's form.
func ArcKeyFolder() string {
	switch runtime.GOOS {
	case "linux":
		return "/var/opt/azcmagent/tokens"
	case "windows":
		return filepath.Join(os.Getenv("ProgramData"), "AzureConnectedMachineAgent", "Tokens")
	}
	return ""
}

// WithArcKeyFolder lets the Azure Arc endpoint answer, with key files in this
// folder: ArcKeyFolder for the libraries, any other for clients of one's own. The
// folder and those above it are made with the first challenge if they are missing,
// and everything that was made is removed by Close. Default "": none, and a request
// to the Arc endpoint fails with an error that says so, because writing outside of
// a test's own folders is not done unasked.
func WithArcKeyFolder(dir string) Option { return func(c *config) { c.arcFolder = dir } }

// arcKeys are the key files of the Azure Arc endpoint.
type arcKeys struct {
	folder string

	mu      sync.Mutex
	keys    []arcKey // oldest first
	folders []string // that were made, outermost first
}

type arcKey struct{ file, content string }

// challenge makes a key file and returns its path.
func (a *arcKeys) challenge() (string, error) {
	if a.folder == "" {
		return "", fmt.Errorf("fakeentra: the Azure Arc endpoint needs a folder for its key files: start with WithArcKeyFolder(ArcKeyFolder()), as a user who may write to %s", ArcKeyFolder())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.makeFolder(a.folder); err != nil {
		return "", fmt.Errorf("fakeentra: make the folder for Azure Arc's key files: %w; run as a user who may, or in a container", err)
	}
	key := arcKey{file: filepath.Join(a.folder, uuid.NewString()+".key"), content: newSecret()}
	// Any user may read it: the real ones are for root and a group, but a test may
	// run its client as somebody else, and what they guard is worthless.
	if err := os.WriteFile(key.file, []byte(key.content), 0o644); err != nil {
		return "", fmt.Errorf("fakeentra: write the key file of an Azure Arc challenge: %w; run as a user who may, or in a container", err)
	}
	a.keys = append(a.keys, key)
	if len(a.keys) > maxArcKeys {
		_ = os.Remove(a.keys[0].file)
		a.keys = slices.Clone(a.keys[1:])
	}
	return key.file, nil
}

// makeFolder is os.MkdirAll that remembers what it made.
func (a *arcKeys) makeFolder(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := a.makeFolder(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil { // as for the files in it
		return err
	}
	a.folders = append(a.folders, dir)
	return nil
}

// knows tells whether somebody has read the key file.
func (a *arcKeys) knows(content string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return content != "" && slices.ContainsFunc(a.keys, func(k arcKey) bool { return k.content == content })
}

// close removes what was made. A folder in which somebody else has put something
// stays.
func (a *arcKeys) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range a.keys {
		_ = os.Remove(k.file)
	}
	for _, dir := range slices.Backward(a.folders) {
		_ = os.Remove(dir)
	}
	a.keys, a.folders = nil, nil
}
