package protocol

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"sync"
	"unicode"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// Schemas holds the *.schema.json files, for whoever wants to validate a driver's messages in another language.
//
//go:embed *.schema.json
var Schemas embed.FS

const schemaBase = "https://github.com/entracache/entracache/scenarios/protocol/"

type schemaSet struct {
	request, event                             *jsonschema.Schema
	reply, helloReply, commandReply, execReply *jsonschema.Schema
}

var schemas = sync.OnceValue(func() schemaSet {
	compiler := jsonschema.NewCompiler()
	for _, name := range []string{"common", "request", "reply", "event"} {
		file := name + ".schema.json"
		raw, err := Schemas.ReadFile(file)
		if err != nil {
			panic(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			panic(fmt.Errorf("%s: %w", file, err))
		}
		if err := compiler.AddResource(schemaBase+file, doc); err != nil {
			panic(fmt.Errorf("%s: %w", file, err))
		}
	}
	return schemaSet{
		request:      compiler.MustCompile(schemaBase + "request.schema.json"),
		event:        compiler.MustCompile(schemaBase + "event.schema.json"),
		reply:        compiler.MustCompile(schemaBase + "reply.schema.json"),
		helloReply:   compiler.MustCompile(schemaBase + "reply.schema.json#/$defs/hello"),
		commandReply: compiler.MustCompile(schemaBase + "reply.schema.json#/$defs/command"),
		execReply:    compiler.MustCompile(schemaBase + "reply.schema.json#/$defs/exec"),
	}
})

// replyTo is the schema that an answer to op must satisfy.
func (s schemaSet) replyTo(op Op) *jsonschema.Schema {
	switch op {
	case OpHello:
		return s.helloReply
	case OpCommand:
		return s.commandReply
	case OpExec:
		return s.execReply
	default:
		return s.reply
	}
}

// check applies a schema to a decoded document and turns what it finds into one field and one sentence.
func check(schema *jsonschema.Schema, doc any) (field, problem string) {
	err := schema.Validate(doc)
	if err == nil {
		return "", ""
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return "", err.Error()
	}
	found := leaves(invalid, nil)
	// jsonschema walks maps, so the order of what it finds differs from run to run; the error text must not.
	sort.SliceStable(found, func(i, j int) bool { return found[i].field < found[j].field })
	return found[0].field, found[0].problem
}

type finding struct{ field, problem string }

var english = message.NewPrinter(language.English)

func leaves(err *jsonschema.ValidationError, found []finding) []finding {
	if len(err.Causes) > 0 {
		for _, cause := range err.Causes {
			found = leaves(cause, found)
		}
		return found
	}
	at := fieldPath(err.InstanceLocation)
	if missing, ok := err.ErrorKind.(*kind.Required); ok {
		name := missing.Missing[0]
		if at != "" {
			name = at + "." + name
		}
		return append(found, finding{name, "missing"})
	}
	return append(found, finding{at, err.ErrorKind.LocalizedString(english)})
}

// fieldPath writes a location as a person would: driver.libraries[0].version.
func fieldPath(location []string) string {
	var path strings.Builder
	for _, part := range location {
		switch {
		case strings.Trim(part, "0123456789") == "":
			path.WriteString("[" + part + "]")
		case path.Len() > 0:
			path.WriteString("." + part)
		default:
			path.WriteString(part)
		}
	}
	return path.String()
}

// tidy leaves in a document only what the protocol knows of.
//
// Members that are null go, because absent and null mean the same. (A null inside a list stays: an absent value has no place
// there, so the schema must see it.) Members whose names are not plain lower case go too: they are unknown, but encoding/json
// matches names without regard to case and would take "ID" for "id".
func tidy(doc any) {
	switch doc := doc.(type) {
	case map[string]any:
		for name, member := range doc {
			if member == nil || strings.ContainsFunc(name, func(r rune) bool { return r > unicode.MaxASCII || unicode.IsUpper(r) }) {
				delete(doc, name)
				continue
			}
			tidy(member)
		}
	case []any:
		for _, item := range doc {
			tidy(item)
		}
	}
}

// fill moves a document that has passed its schema into a message.
func fill(doc map[string]any, message any) error {
	raw, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, message)
}

// decode reads exactly one JSON object.
func decode(raw []byte) (map[string]any, string) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber() // integers beyond 2^53 must survive
	var doc any
	if err := decoder.Decode(&doc); err != nil {
		return nil, "not JSON: " + err.Error()
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, "has more after the JSON object"
	}
	object, ok := doc.(map[string]any)
	if !ok {
		return nil, "JSON but not an object"
	}
	tidy(object)
	return object, ""
}
