package driver

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/entracache/entracache/scenarios/protocol"
)

// The names of the files that describe a client to the harness.
const (
	ConfigFile        = "client.yaml"
	KnownFailuresFile = "known_failures.txt"
	KnownFlakyFile    = "known_flaky.txt" // of the same form: what the library fails now and then
)

// Config is a client folder: its client.yaml, its known_failures.txt and its known_flaky.txt.
type Config struct {
	Name          string                `yaml:"name"`    // the folder's name
	Library       string                `yaml:"library"` // libraries[0].name of the driver's hello
	Language      string                `yaml:"language"`
	Documentation string                `yaml:"documentation"` // the page whose wiring was followed
	Runtime       RuntimeConfig         `yaml:"runtime"`
	Inputs        []string              `yaml:"inputs"`       // files or ** patterns whose content keys the prepared folder; ../ is a folder beside it
	Steps         [][]string            `yaml:"prepare"`      // commands run in the client's folder; {cache} is the prepared folder
	Command       []string              `yaml:"command"`      // starts the driver, in the client's folder
	Capabilities  []protocol.Capability `yaml:"capabilities"` // exactly those that the driver's hello declares
	Virtual       VirtualConfig         `yaml:"virtual"`
	// Lane is the lane that suits the library, where none is asked for: virtual for one with timers in minutes, for which the scaled lane
	// has to be slow. Default: scaled.
	Lane string `yaml:"lane"`
	// OtherVersion are the commands that prepare the client with another version of its library, which {version} stands for, in place of
	// those of prepare. Empty: it has the locked one only.
	OtherVersion [][]string `yaml:"other_version"`

	Dir           string        `yaml:"-"` // absolute path of the folder
	KnownFailures KnownFailures `yaml:"-"`
	KnownFlaky    KnownFailures `yaml:"-"`
	Version       string        `yaml:"-"` // of the library, where it is not the locked one; see [Config.AtVersion]
}

// RuntimeConfig says what must be installed for the client to run.
type RuntimeConfig struct {
	Command []string `yaml:"command"` // prints the version, such as [go, version]
	Minimum string   `yaml:"minimum"` // lowest version that will do, such as "1.24"; empty: any
}

// VirtualConfig says how the client's process is sped up in the virtual lane, or why that lane cannot judge the client.
type VirtualConfig struct {
	By     string `yaml:"by"`     // ByLibfaketime or ByOverlay
	Reason string `yaml:"reason"` // why not; instead of By
}

// NotInVirtualLane is why the virtual lane cannot judge the client, or empty.
func (c *Config) NotInVirtualLane() string {
	switch {
	case c.Virtual.By != "":
		return ""
	case c.Virtual.Reason != "":
		return c.Virtual.Reason
	default:
		return "its " + ConfigFile + " does not say how its process is sped up (virtual: { by: … })"
	}
}

var (
	clientName    = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	versionNumber = regexp.MustCompile(`^[0-9]+(\.[0-9]+)*$`)
	releaseName   = regexp.MustCompile(`^[0-9][0-9A-Za-z.+_-]*$`) // goes into command lines as it is
	placeholder   = regexp.MustCompile(`\{[A-Za-z_]*\}`)
)

// Load reads a client folder. Errors name the file, the line and the key.
func Load(dir string) (*Config, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, ConfigFile)
	raw, err := os.ReadFile(file)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%s: there is no such file; a client is a folder with a %s, and a driver of your own is named with %sCOMMAND", file, ConfigFile, ExecPrefix)
		}
		return nil, err
	}
	config, err := parseConfig(file, raw)
	if err != nil {
		return nil, err
	}
	config.Dir = abs
	if base := filepath.Base(abs); config.Name != base {
		return nil, fmt.Errorf("%s: name: expected %q, the name of the folder, got %q", file, base, config.Name)
	}
	if _, err := config.inputFiles(); err != nil {
		return nil, err
	}
	if config.KnownFailures, err = loadKnown(filepath.Join(dir, KnownFailuresFile)); err != nil {
		return nil, err
	}
	config.KnownFlaky, err = loadKnown(filepath.Join(dir, KnownFlakyFile))
	return config, err
}

// loadKnown reads a list of known failures; no file is an empty list.
func loadKnown(file string) (KnownFailures, error) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ParseKnownFailures(file, f)
}

func parseConfig(file string, raw []byte) (*Config, error) {
	tree, err := parser.ParseBytes(raw, 0)
	if err != nil {
		return nil, yamlError(file, err)
	}
	var config Config
	if err := yaml.UnmarshalWithOptions(raw, &config, yaml.Strict()); err != nil {
		return nil, yamlError(file, err)
	}
	return &config, config.validate(file, tree)
}

// yamlError turns the library's error, which shows a piece of the source over several lines, into one line.
func yamlError(file string, err error) error {
	var located yaml.Error
	if errors.As(err, &located) && located.GetToken() != nil {
		return fmt.Errorf("%s:%d: %s", file, located.GetToken().Position.Line, located.GetMessage())
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return fmt.Errorf("%s: %s", file, first)
}

func (c *Config) validate(file string, tree *ast.File) error {
	bad := func(key, format string, args ...any) error {
		return fmt.Errorf("%s:%d: %s: %s", file, lineOf(tree, key), key, fmt.Sprintf(format, args...))
	}
	for _, required := range []struct{ key, value string }{
		{"name", c.Name}, {"library", c.Library}, {"language", c.Language}, {"documentation", c.Documentation},
	} {
		if strings.TrimSpace(required.value) == "" {
			return bad(required.key, "is missing")
		}
	}
	switch {
	case !clientName.MatchString(c.Name):
		return bad("name", "expected small letters, digits and single hyphens, got %q", c.Name)
	case !strings.HasPrefix(c.Documentation, "https://"):
		return bad("documentation", "expected the https:// address of the page whose wiring was followed, got %q", c.Documentation)
	case len(c.Runtime.Command) == 0 || c.Runtime.Command[0] == "":
		return bad("runtime.command", "is missing; give the command that prints the version, such as [go, version]")
	case isNumber(nodeAt(tree, "runtime.minimum")):
		return bad("runtime.minimum", "write the version in quotes: YAML takes 1.20 for the number 1.2")
	case c.Runtime.Minimum != "" && !versionNumber.MatchString(c.Runtime.Minimum):
		return bad("runtime.minimum", "expected a version such as \"1.24\", got %q", c.Runtime.Minimum)
	case len(c.Command) == 0 || c.Command[0] == "":
		return bad("command", "is missing; give the command that starts the driver")
	case len(c.Capabilities) == 0:
		return bad("capabilities", "is missing; list what the driver's hello declares")
	}
	switch by := c.Virtual.By; {
	case by != "" && by != ByLibfaketime && by != ByOverlay:
		return bad("virtual.by", "expected %s or %s, got %q", ByLibfaketime, ByOverlay, by)
	case by != "" && c.Virtual.Reason != "":
		return bad("virtual.reason", "is why there is no way to speed the client up, but virtual.by names one")
	case c.Lane != "" && c.Lane != "scaled" && c.Lane != "virtual":
		return bad("lane", "expected scaled or virtual, the lane that suits the library, got %q", c.Lane)
	case c.Lane == "virtual" && by == "":
		return bad("lane", "is virtual, but virtual.by does not say how the client is sped up")
	}
	if key, text := c.unknownPlaceholder(); key != "" {
		return bad(key, "unknown placeholder %s; known are {cache}, the prepared folder, and in other_version {version}", text)
	}
	for list, steps := range map[string][][]string{"prepare": c.Steps, "other_version": c.OtherVersion} {
		for i, step := range steps {
			if len(step) == 0 || step[0] == "" {
				return bad(fmt.Sprintf("%s[%d]", list, i), "is empty; each step is a list of words, such as [npm, ci]")
			}
		}
	}
	for i, capability := range c.Capabilities {
		key := fmt.Sprintf("capabilities[%d]", i)
		if !slices.Contains(protocol.Capabilities(), capability) {
			return bad(key, "unknown capability %q; known are %s", capability, join(protocol.Capabilities()))
		}
		if slices.Contains(c.Capabilities[:i], capability) {
			return bad(key, "%q is listed twice", capability)
		}
	}
	for i, input := range c.Inputs {
		key := fmt.Sprintf("inputs[%d]", i)
		if !doublestar.ValidatePattern(input) {
			return bad(key, "%q is not a valid pattern", input)
		}
		if beside, ok := strings.CutPrefix(input, "../"); path.IsAbs(input) || slices.Contains(strings.Split(beside, "/"), "..") ||
			ok && !strings.Contains(beside, "/") {
			return bad(key, "expected a path inside the client's folder or a folder beside it, got %q", input)
		}
	}
	return nil
}

func (c *Config) unknownPlaceholder() (key, text string) {
	lists := map[string][]string{"command": c.Command}
	for i, step := range c.Steps {
		lists[fmt.Sprintf("prepare[%d]", i)] = step
	}
	for i, step := range c.OtherVersion {
		lists[fmt.Sprintf("other_version[%d]", i)] = fillIn(step, "{version}", "")
	}
	for key, words := range lists {
		for _, word := range words {
			for _, found := range placeholder.FindAllString(word, -1) {
				if found != "{cache}" {
					return key, found
				}
			}
		}
	}
	return "", ""
}

// Column names the client in a matrix: by its folder, and by the version where that is not the locked one.
func (c *Config) Column() string {
	if c.Version == "" {
		return c.Name
	}
	return c.Name + "@" + c.Version
}

// AtVersion is the same client with another version of its library. What is known to fail is of the locked one: it is kept as what may
// fail, and [Config.Version] tells that it need not.
func (c *Config) AtVersion(version string) (*Config, error) {
	version = strings.TrimPrefix(version, "v")
	if len(c.OtherVersion) == 0 {
		return nil, fmt.Errorf("%s: other_version is missing: it is to say how %s is installed in another version than the locked one", filepath.Join(c.Dir, ConfigFile), c.Library)
	}
	if !releaseName.MatchString(version) {
		return nil, fmt.Errorf("%s in version %q: expected the name of a release, such as 7.1.0", c.Name, version)
	}
	other := *c
	other.Version = version
	other.Steps = nil
	for _, step := range c.OtherVersion {
		other.Steps = append(other.Steps, fillIn(step, "{version}", version))
	}
	return &other, nil
}

// inputFiles are the files that inputs names, relative to the folder with forward slashes, sorted. What clients share is in a
// folder beside them: ../folder/file.
func (c *Config) inputFiles() ([]string, error) {
	var files []string
	for _, pattern := range c.Inputs {
		root, up := c.Dir, ""
		if beside, ok := strings.CutPrefix(pattern, "../"); ok {
			root, pattern, up = filepath.Dir(c.Dir), beside, "../"
		}
		found, err := doublestar.Glob(os.DirFS(root), pattern, doublestar.WithFilesOnly())
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("%s: inputs: %q matches no file", filepath.Join(c.Dir, ConfigFile), up+pattern)
		}
		for _, file := range found {
			files = append(files, up+file)
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// lineOf is the line of a key such as runtime.command or capabilities[2], or of its nearest parent that exists.
func lineOf(tree *ast.File, key string) int {
	for key != "" {
		if node := nodeAt(tree, key); node != nil {
			return node.GetToken().Position.Line
		}
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
	return 1
}

func nodeAt(tree *ast.File, key string) ast.Node {
	at, err := yaml.PathString("$." + key)
	if err != nil {
		return nil
	}
	node, err := at.FilterFile(tree)
	if err != nil {
		return nil
	}
	return node
}

func isNumber(node ast.Node) bool {
	switch node.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		return true
	default:
		return false
	}
}

func join[T ~string](words []T) string {
	parts := make([]string, len(words))
	for i, word := range words {
		parts[i] = string(word)
	}
	return strings.Join(parts, ", ")
}
