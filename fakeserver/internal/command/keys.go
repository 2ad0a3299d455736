package command

import "math"

// KeyRange is a run of key positions: the arguments First, First+Step, … up to and including Last. Argument 0 is the
// command's name, so a First of 0 means that the range is empty.
type KeyRange struct{ First, Last, Step int }

// keyRule is the way in which the arguments tell where the keys are. The data files name the rules; the generator's list of
// names must be kept equal.
type keyRule uint8

const (
	// rulePositions: FirstKey, LastKey and KeyStep say it all.
	rulePositions keyRule = iota
	// ruleNumkeys: EVAL script numkeys key…
	ruleNumkeys
	// ruleNumkeysDestination: ZUNIONSTORE destination numkeys key…
	ruleNumkeysDestination
	// ruleSortStore: SORT key … [STORE destination]
	ruleSortStore
	// ruleGeoradiusStore: GEORADIUS key … [STORE|STOREDIST destination]
	ruleGeoradiusStore
	// ruleMigrate: MIGRATE host port key|"" db timeout … [KEYS key…]
	ruleMigrate
	// ruleStreams: XREAD … STREAMS key… id…
	ruleStreams
	// ruleMemoryUsage: MEMORY USAGE key, and no key for any other first argument.
	ruleMemoryUsage
	// ruleLCS: STRALGO LCS … KEYS key key, unless STRINGS comes first.
	ruleLCS
)

// KeyRanges returns the positions of the keys in a call of the command, in the order of the engine (COMMAND GETKEYS); args
// includes the command's name. In a call that the command itself will refuse it may find no key, as the engine does: such a
// call reads nothing. It does not allocate.
//
// The rules follow the engine to the letter where a stricter reading would let a permission check look at other arguments
// than the command later uses: numbers are read like C's atoi, the last STORE wins, and the word STORE does not shield the
// argument after it from being read as an option.
func (c *Command) KeyRanges(args [][]byte) [2]KeyRange {
	// The rules below rely on the arguments that the arity promises.
	if !c.ArityOK(len(args)) {
		return [2]KeyRange{}
	}
	switch c.rule {
	case ruleNumkeys:
		return [2]KeyRange{countedKeys(args)}
	case ruleNumkeysDestination:
		keys := countedKeys(args)
		if keys.First == 0 {
			return [2]KeyRange{}
		}
		return [2]KeyRange{keys, single(1)}
	case ruleSortStore:
		return [2]KeyRange{single(1), single(sortDestination(args))}
	case ruleGeoradiusStore:
		return [2]KeyRange{single(1), single(georadiusDestination(args))}
	case ruleMigrate:
		return [2]KeyRange{migrateKeys(args)}
	case ruleStreams:
		return [2]KeyRange{streamKeys(args)}
	case ruleMemoryUsage:
		return [2]KeyRange{memoryUsageKey(args)}
	case ruleLCS:
		return [2]KeyRange{lcsKeys(args)}
	default:
		return [2]KeyRange{c.positionedKeys(len(args))}
	}
}

// Keys returns the keys in a call of the command; args includes the command's name. The slice is new, the keys are those of
// args. See KeyRanges.
func (c *Command) Keys(args [][]byte) [][]byte {
	var keys [][]byte
	for _, r := range c.KeyRanges(args) {
		if r.First == 0 {
			continue
		}
		for i := r.First; i <= r.Last; i += r.Step {
			keys = append(keys, args[i])
		}
	}
	return keys
}

func (c *Command) positionedKeys(n int) KeyRange {
	if c.FirstKey == 0 {
		return KeyRange{}
	}
	last := c.LastKey
	if last < 0 {
		last += n
	}
	// A call that is too short for its own positions (OBJECT HELP) has no keys at all, rather than some.
	if last < c.FirstKey || last >= n {
		return KeyRange{}
	}
	return KeyRange{First: c.FirstKey, Last: last, Step: c.KeyStep}
}

// countedKeys reads the number of keys from argument 2 and finds them from argument 3 on.
func countedKeys(args [][]byte) KeyRange {
	n := atoi(args[2])
	if n < 1 || n > len(args)-3 {
		return KeyRange{}
	}
	return KeyRange{First: 3, Last: 2 + n, Step: 1}
}

func sortDestination(args [][]byte) int {
	destination := 0
	for i := 2; i < len(args); i++ {
		switch arg := args[i]; {
		case equalFold(arg, "limit"):
			i += 2
		case equalFold(arg, "get"), equalFold(arg, "by"):
			i++
		case equalFold(arg, "store") && i+1 < len(args):
			destination = i + 1
		}
	}
	return destination
}

func georadiusDestination(args [][]byte) int {
	destination := 0
	for i := 5; i+1 < len(args); i++ {
		if equalFold(args[i], "store") || equalFold(args[i], "storedist") {
			i++
			destination = i
		}
	}
	return destination
}

func migrateKeys(args [][]byte) KeyRange {
	if len(args[3]) == 0 {
		for i := 6; i < len(args); i++ {
			if equalFold(args[i], "keys") {
				if i+1 == len(args) {
					return KeyRange{}
				}
				return KeyRange{First: i + 1, Last: len(args) - 1, Step: 1}
			}
		}
	}
	return single(3)
}

func streamKeys(args [][]byte) KeyRange {
	for i := 1; i < len(args); i++ {
		switch arg := args[i]; {
		case equalFold(arg, "block"), equalFold(arg, "count"):
			i++
		case equalFold(arg, "group"):
			i += 2
		case equalFold(arg, "noack"):
		case equalFold(arg, "streams"):
			// As many IDs follow as there are keys.
			n := len(args) - i - 1
			if n == 0 || n%2 != 0 {
				return KeyRange{}
			}
			return KeyRange{First: i + 1, Last: i + n/2, Step: 1}
		default:
			return KeyRange{}
		}
	}
	return KeyRange{}
}

func memoryUsageKey(args [][]byte) KeyRange {
	if len(args) >= 3 && equalFold(args[1], "usage") {
		return single(2)
	}
	return KeyRange{}
}

func lcsKeys(args [][]byte) KeyRange {
	for i := 1; i < len(args); i++ {
		if equalFold(args[i], "strings") {
			return KeyRange{}
		}
		if equalFold(args[i], "keys") && i+2 < len(args) {
			return KeyRange{First: i + 1, Last: i + 2, Step: 1}
		}
	}
	return KeyRange{}
}

// single is the range of one position; position 0 gives the empty range.
func single(position int) KeyRange { return KeyRange{First: position, Last: position, Step: 1} }

// equalFold compares in ASCII, as the engine does; bytes.EqualFold would fold 'K' with the Kelvin sign.
func equalFold(arg []byte, lower string) bool {
	if len(arg) != len(lower) {
		return false
	}
	for i, b := range arg {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		if b != lower[i] {
			return false
		}
	}
	return true
}

// atoi reads a number as C's atoi does on a 64-bit machine: white space and a sign first, then digits up to the first byte
// that is none, saturating at 64 bits and cut to 32.
func atoi(arg []byte) int {
	i := 0
	for i < len(arg) && (arg[i] == ' ' || '\t' <= arg[i] && arg[i] <= '\r') {
		i++
	}
	sign := int64(1)
	if i < len(arg) && (arg[i] == '-' || arg[i] == '+') {
		if arg[i] == '-' {
			sign = -1
		}
		i++
	}
	var n int64
	for ; i < len(arg) && '0' <= arg[i] && arg[i] <= '9'; i++ {
		digit := int64(arg[i] - '0')
		if n > (math.MaxInt64-digit)/10 {
			if sign < 0 {
				n = math.MinInt64
			} else {
				n = math.MaxInt64
			}
			return int(int32(n)) //nolint:gosec // cutting to 32 bits is what is imitated
		}
		n = n*10 + digit
	}
	return int(int32(sign * n)) //nolint:gosec // as above
}
