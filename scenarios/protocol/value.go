package protocol

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// ValueType is the Redis type of a value, as far as the library tells it apart.
type ValueType string

// The types of value.
const (
	TypeSimple   ValueType = "simple"
	TypeBulk     ValueType = "bulk"
	TypeInteger  ValueType = "integer"
	TypeNull     ValueType = "null"
	TypeArray    ValueType = "array"
	TypeMap      ValueType = "map"
	TypeSet      ValueType = "set"
	TypeDouble   ValueType = "double"
	TypeBoolean  ValueType = "boolean"
	TypeError    ValueType = "error"
	TypeVerbatim ValueType = "verbatim"
)

// Value is what the server answered to a command, as the library hands it to its user. Which member counts depends on Type.
type Value struct {
	Type   ValueType
	Text   string     // simple, bulk, error, verbatim
	Int    int64      // integer
	Double float64    // double
	Bool   bool       // boolean
	Items  []Value    // array, set
	Pairs  [][2]Value // map
}

// Bulk is a bulk string.
func Bulk(text string) Value { return Value{Type: TypeBulk, Text: text} }

// Simple is a simple string, such as OK.
func Simple(text string) Value { return Value{Type: TypeSimple, Text: text} }

// Integer is an integer.
func Integer(n int64) Value { return Value{Type: TypeInteger, Int: n} }

// Null is the null reply.
func Null() Value { return Value{Type: TypeNull} }

// Array is a list of replies.
func Array(items ...Value) Value { return Value{Type: TypeArray, Items: items} }

// MarshalJSON writes the value as {"type":…,"value":…}.
func (v Value) MarshalJSON() ([]byte, error) {
	type wire struct {
		Type  ValueType `json:"type"`
		Value any       `json:"value,omitempty"`
	}
	out := wire{Type: v.Type}
	switch v.Type {
	case TypeSimple, TypeBulk, TypeError, TypeVerbatim:
		out.Value = v.Text
	case TypeInteger:
		out.Value = v.Int
	case TypeBoolean:
		out.Value = v.Bool
	case TypeDouble:
		switch {
		case math.IsNaN(v.Double):
			out.Value = "nan"
		case math.IsInf(v.Double, 1):
			out.Value = "inf"
		case math.IsInf(v.Double, -1):
			out.Value = "-inf"
		default:
			out.Value = v.Double
		}
	case TypeArray, TypeSet:
		out.Value = append([]Value{}, v.Items...) // never null
	case TypeMap:
		out.Value = append([][2]Value{}, v.Pairs...)
	case TypeNull:
	default:
		return nil, fmt.Errorf("a value of unknown type %q", v.Type)
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads {"type":…,"value":…}.
func (v *Value) UnmarshalJSON(raw []byte) error {
	var in struct {
		Type  ValueType       `json:"type"`
		Value json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return err
	}
	*v = Value{Type: in.Type}
	var target any
	switch in.Type {
	case TypeSimple, TypeBulk, TypeError, TypeVerbatim:
		target = &v.Text
	case TypeInteger:
		target = &v.Int
	case TypeBoolean:
		target = &v.Bool
	case TypeArray, TypeSet:
		target = &v.Items
	case TypeMap:
		target = &v.Pairs
	case TypeNull:
		return nil
	case TypeDouble:
		var word string
		if json.Unmarshal(in.Value, &word) == nil {
			double, err := strconv.ParseFloat(word, 64)
			v.Double = double
			return err
		}
		target = &v.Double
	default:
		return fmt.Errorf("a value of unknown type %q", in.Type)
	}
	return json.Unmarshal(in.Value, target)
}

// IsText says whether the value is a string of any kind (simple, bulk or verbatim).
func (v Value) IsText() bool {
	return v.Type == TypeSimple || v.Type == TypeBulk || v.Type == TypeVerbatim
}

// Plain is the value as a person writes it in a scenario: OK, 3, 1.5, true, (nil); lists as [a, b].
func (v Value) Plain() string { return v.render(func(text string) string { return text }) }

// String is the value as it is shown in a failure: strings quoted, the rest as in [Value.Plain].
func (v Value) String() string { return v.render(strconv.Quote) }

func (v Value) render(text func(string) string) string {
	switch v.Type {
	case TypeSimple, TypeBulk, TypeVerbatim:
		return text(v.Text)
	case TypeError:
		return "(error) " + v.Text
	case TypeInteger:
		return strconv.FormatInt(v.Int, 10)
	case TypeBoolean:
		return strconv.FormatBool(v.Bool)
	case TypeDouble:
		return strconv.FormatFloat(v.Double, 'g', -1, 64)
	case TypeNull:
		return "(nil)"
	case TypeArray, TypeSet:
		parts := make([]string, len(v.Items))
		for i, item := range v.Items {
			parts[i] = item.render(text)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case TypeMap:
		parts := make([]string, len(v.Pairs))
		for i, pair := range v.Pairs {
			parts[i] = pair[0].render(text) + ": " + pair[1].render(text)
		}
		return "{" + strings.Join(parts, ", ") + "}"
	default:
		return "(no value)"
	}
}

// Equal compares two values. The three kinds of string count as one, because a library need not tell them apart; the order
// of a set's members and of a map's pairs does not count; NaN equals NaN.
func (v Value) Equal(other Value) bool {
	if v.IsText() && other.IsText() {
		return v.Text == other.Text
	}
	if v.Type != other.Type {
		return false
	}
	switch v.Type {
	case TypeError:
		return v.Text == other.Text
	case TypeInteger:
		return v.Int == other.Int
	case TypeBoolean:
		return v.Bool == other.Bool
	case TypeDouble:
		return v.Double == other.Double || math.IsNaN(v.Double) && math.IsNaN(other.Double)
	case TypeArray:
		return slices.EqualFunc(v.Items, other.Items, Value.Equal)
	case TypeSet:
		return sameMembers(v.Items, other.Items, Value.Equal)
	case TypeMap:
		return sameMembers(v.Pairs, other.Pairs, func(a, b [2]Value) bool { return a[0].Equal(b[0]) && a[1].Equal(b[1]) })
	default:
		return true
	}
}

func sameMembers[T any](a, b []T, equal func(T, T) bool) bool {
	if len(a) != len(b) {
		return false
	}
	rest := slices.Clone(b)
	for _, member := range a {
		at := slices.IndexFunc(rest, func(other T) bool { return equal(member, other) })
		if at < 0 {
			return false
		}
		rest = slices.Delete(rest, at, at+1)
	}
	return true
}
