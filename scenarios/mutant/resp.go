package mutant

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/entracache/entracache/scenarios/protocol"
)

// isPush marks a value that the server sent unasked.
const isPush protocol.ValueType = "push"

// encodeCommand writes a command as an array of bulk strings.
func encodeCommand(args ...string) []byte {
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, a := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b
}

// readValue reads one RESP2 or RESP3 value. An error reply is a value of its own type.
func readValue(r *bufio.Reader) (protocol.Value, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return protocol.Value{}, err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return protocol.Value{}, fmt.Errorf("an empty line where a RESP value was expected")
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+':
		return protocol.Simple(rest), nil
	case '-':
		return protocol.Value{Type: protocol.TypeError, Text: rest}, nil
	case '_':
		return protocol.Null(), nil
	case '#':
		return protocol.Value{Type: protocol.TypeBoolean, Bool: rest == "t"}, nil
	case ',':
		d, err := strconv.ParseFloat(rest, 64)
		return protocol.Value{Type: protocol.TypeDouble, Double: d}, err
	case '(':
		return protocol.Bulk(rest), nil
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	if err != nil || n < -1 && kind != ':' || n > math.MaxInt32 && kind != ':' {
		return protocol.Value{}, fmt.Errorf("unexpected RESP line %q", line)
	}
	switch {
	case kind == ':':
		return protocol.Integer(n), nil
	case n == -1:
		return protocol.Null(), nil
	}
	switch kind {
	case '$', '=':
		text := make([]byte, n+2)
		if _, err := io.ReadFull(r, text); err != nil {
			return protocol.Value{}, err
		}
		if kind == '=' && n >= 4 {
			return protocol.Value{Type: protocol.TypeVerbatim, Text: string(text[4:n])}, nil
		}
		return protocol.Bulk(string(text[:n])), nil
	case '*', '~', '>':
		v := protocol.Value{Type: map[byte]protocol.ValueType{'*': protocol.TypeArray, '~': protocol.TypeSet, '>': isPush}[kind]}
		for range n {
			item, err := readValue(r)
			if err != nil {
				return v, err
			}
			v.Items = append(v.Items, item)
		}
		return v, nil
	case '%':
		v := protocol.Value{Type: protocol.TypeMap}
		for range n {
			key, err := readValue(r)
			if err != nil {
				return v, err
			}
			value, err := readValue(r)
			if err != nil {
				return v, err
			}
			v.Pairs = append(v.Pairs, [2]protocol.Value{key, value})
		}
		return v, nil
	default:
		return protocol.Value{}, fmt.Errorf("unexpected RESP line %q", line)
	}
}
