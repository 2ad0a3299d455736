package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
)

// configFlag is the flag of a sub-command that names its configuration file.
const configFlag = "config"

// loadConfig reads a --config file: YAML whose keys are the flag names of the sub-command, without the dashes in front. Flags and
// the environment win over it.
func loadConfig(r io.Reader) (kong.Resolver, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(text, &values); err != nil {
		first, _, _ := strings.Cut(yaml.FormatError(err, false, false), "\n")
		return nil, fmt.Errorf("expected a YAML map of flag names to values: %s", first)
	}
	return &configFile{values: values}, nil
}

// useConfig makes the sub-command's flags take from its configuration file what the command line and the environment leave open.
// A hook of kong.ConfigFlag would not do: it reads the file that ENTRACACHE_CONFIG names for every sub-command, also for those
// that have no such flag.
func useConfig(app *kong.Kong, ctx *kong.Context) error {
	var known []string
	path := ""
	for _, flag := range ctx.Selected().Flags {
		if flag.Name == configFlag {
			path, _ = ctx.FlagValue(flag).(string)
		} else {
			known = append(known, flag.Name)
		}
	}
	if path == "" {
		return nil
	}
	resolver, err := app.LoadConfig(path)
	if err != nil {
		return fmt.Errorf("--config %s: %w", path, withoutPath(err))
	}
	if err := resolver.(*configFile).check(known); err != nil {
		return fmt.Errorf("--config %s: %w", path, err)
	}
	ctx.AddResolver(resolver)
	return nil
}

// withoutPath leaves out the path and the system call of a file error, for messages that name the file themselves.
func withoutPath(err error) error {
	var inPath *os.PathError
	if errors.As(err, &inPath) {
		return inPath.Err
	}
	return err
}

type configFile struct {
	values map[string]any
}

// check refuses keys that are not flags. It cannot be left to Validate, which is not told the sub-command.
func (c *configFile) check(known []string) error {
	var unknown []string
	for key := range c.values {
		if !slices.Contains(known, key) {
			unknown = append(unknown, fmt.Sprintf("%q", key))
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	slices.Sort(known)
	return fmt.Errorf("unknown key %s: expected some of %s", strings.Join(unknown, ", "), strings.Join(known, ", "))
}

// Validate has nothing left to do; see check.
func (c *configFile) Validate(*kong.Application) error { return nil }

// Resolve is asked for every flag that is not on the command line.
func (c *configFile) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
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
	case []any:
		if flag.IsSlice() {
			return texts(v)
		}
	case map[string]any:
		if flag.IsMap() {
			return textMap(v)
		}
	default:
		return text(value)
	}
	return nil, fmt.Errorf("the configuration file gives it a value of the wrong form: %v", value)
}

func text(value any) (string, error) {
	switch v := value.(type) {
	case string, bool, int, int64, uint64, float64:
		return fmt.Sprint(v), nil
	case nil:
		return "", errors.New("the configuration file gives it no value; remove the key, or give it one")
	}
	return "", fmt.Errorf("the configuration file gives it a value of the wrong form: expected a text, a number, true or false, got %v", value)
}

func texts(values []any) ([]any, error) {
	list := make([]any, len(values))
	for i, value := range values {
		var err error
		if list[i], err = text(value); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func textMap(values map[string]any) (map[string]any, error) {
	m := map[string]any{}
	for key, value := range values {
		var err error
		if m[key], err = text(value); err != nil {
			return nil, err
		}
	}
	return m, nil
}
