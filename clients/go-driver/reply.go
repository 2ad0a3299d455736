package driver

import (
	"fmt"
	"math"
	"math/big"
	"strings"
)

// Reply is a reply of the cache in the protocol's terms.
type Reply struct {
	Type  string `json:"type"`
	Value any    `json:"value"`
}

// ReplyOf describes what the libraries make of a reply. They tell neither a simple from a bulk or verbatim string nor a set from an array.
func ReplyOf(v any) Reply {
	switch v := v.(type) {
	case nil:
		return Reply{"null", nil}
	case string:
		return Reply{"bulk", v}
	case int64:
		return Reply{"integer", v}
	case *big.Int:
		return Reply{"integer", v}
	case bool:
		return Reply{"boolean", v}
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return Reply{"double", strings.ToLower(strings.TrimPrefix(fmt.Sprint(v), "+"))} // JSON has no number for these
		}
		return Reply{"double", v}
	case []any:
		items := make([]Reply, len(v))
		for i, item := range v {
			items[i] = ReplyOf(item)
		}
		return Reply{"array", items}
	case map[any]any:
		return mapReply(v)
	case map[string]any:
		return mapReply(v)
	case error:
		return Reply{"error", v.Error()}
	default:
		return Reply{"bulk", fmt.Sprint(v)}
	}
}

func mapReply[K comparable](m map[K]any) Reply {
	pairs := make([][2]Reply, 0, len(m))
	for key, value := range m {
		pairs = append(pairs, [2]Reply{ReplyOf(key), ReplyOf(value)})
	}
	return Reply{"map", pairs}
}
