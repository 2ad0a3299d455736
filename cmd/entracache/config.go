package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
)

// loadConfig reads a --config file: YAML whose keys are the flag names of the sub-command, without the dashes in front. Flags and
// the environment win over it.
func loadConfig(r io.Reader) (kong.Resolver, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(text, &values); err != nil {
		return nil, fmt.Errorf("not a YAML map of flag names to values: %w", err)
	}
	return &configFile{values: values, known: map[string]bool{}}, nil
}

type configFile struct {
	values map[string]any
	known  map[string]bool
}

// Validate is called once the flags are resolved: a key that no flag of the sub-command asked for is unknown.
func (c *configFile) Validate(*kong.Application) error {
	var unknown []string
	for key := range c.values {
		if !c.known[key] {
			unknown = append(unknown, fmt.Sprintf("%q", key))
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	known := []string{}
	for key := range c.known {
		known = append(known, key)
	}
	slices.Sort(unknown)
	slices.Sort(known)
	return fmt.Errorf("the configuration file has the unknown key %s: expected some of %s", strings.Join(unknown, ", "), strings.Join(known, ", "))
}

func (c *configFile) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	switch flag.Name {
	case "help", "version", "config":
		return nil, nil
	}
	c.known[flag.Name] = true
	value, ok := c.values[flag.Name]
	if !ok {
		return nil, nil
	}
	for _, env := range flag.Envs {
		if _, set := os.LookupEnv(env); set {
			return nil, nil
		}
	}
	switch v := value.(type) {
	case string, bool, int, int64, uint64, float64:
		return fmt.Sprint(v), nil
	case []any:
		var parts []string
		for _, part := range v {
			parts = append(parts, fmt.Sprint(part))
		}
		return strings.Join(parts, ","), nil
	default:
		return nil, fmt.Errorf("the configuration file gives it a value of the wrong form: expected a text, a number, true, false or a list of texts, got %v", value)
	}
}
