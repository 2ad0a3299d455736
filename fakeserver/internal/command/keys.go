package command

import "math"

// KeyRange is a run of key positions: the arguments First, First+Step, … up to and including Last. Argument 0 is the
// command's name, so a First of 0 means that the range is empty. Flags say what the command does with these keys; they are
// 0 where the engine does not know (in levels 6.x, which do not ask, nearly always).
type KeyRange struct {
	First, Last, Step int
	Flags             KeyFlags
}

// maxKeyRanges is the most that a call can have: GEORADIUS with STORE and STOREDIST.
const maxKeyRanges = 3

// KeyRanges are the keys of a call. Ranges without keys have a First of 0.
type KeyRanges [maxKeyRanges]KeyRange

// keySource is where to look for the keys of a command.
type keySource uint8

const (
	noKeys keySource = iota
	// keysByRule: the command's keyRule finds them.
	keysByRule
	// keysBySpecs: the specifications find them, and the rule does where they fail.
	keysBySpecs
)

// keySource prefers the specifications, as the engine does, unless only the arguments tell where the keys are or what happens
// to them.
func (c *Command) keySource() keySource {
	if c.Specs == nil {
		if c.rule != rulePositions || c.FirstKey != 0 {
			return keysByRule
		}
		return noKeys
	}
	keys, reliable := false, true
	for _, s := range c.Specs {
		keys = keys || s.Flags&NotKey == 0
		known := s.Find != FindUnknown && (s.Index > 0 || s.Keyword != "")
		reliable = reliable && known && s.Flags&KeyVariableFlags == 0
	}
	switch {
	case !keys:
		return noKeys
	case reliable:
		return keysBySpecs
	default:
		return keysByRule
	}
}

// onlyKeyOf finds what OnlyKey returns; of SET the flags are for the arguments to tell.
func (c *Command) onlyKeyOf() (position int, flags KeyFlags) {
	least := max(c.Arity, -c.Arity)
	switch {
	case c.keys == keysByRule && c.rule == rulePositions && c.Specs == nil && c.FirstKey == c.LastKey && c.FirstKey < least:
		return c.FirstKey, 0
	case c.rule == ruleSet:
		return 1, 0
	case c.keys == keysBySpecs && len(c.Specs) == 1:
		s := &c.Specs[0]
		if s.Index > 0 && s.Index < least && s.Find == FindRange && s.Last == 0 && s.Flags&(NotKey|KeyIncomplete) == 0 {
			return s.Index, s.Flags
		}
	}
	return 0, 0
}

// keyRule is the way in which the arguments tell where the keys are. The data files name the rules; the generator's list of
// names must be kept equal.
type keyRule uint8

const (
	// rulePositions: FirstKey, LastKey and KeyStep say it all.
	rulePositions keyRule = iota
	// ruleNumkeys: EVAL script numkeys key…
	ruleNumkeys
	// ruleNumkeysFirst: ZUNION numkeys key…
	ruleNumkeysFirst
	// ruleNumkeysDestination: ZUNIONSTORE destination numkeys key…
	ruleNumkeysDestination
	// ruleSortStore: SORT key … [STORE destination]
	ruleSortStore
	// ruleSortRO: SORT_RO key …
	ruleSortRO
	// ruleGeoradiusStore: GEORADIUS key … [STORE|STOREDIST destination]
	ruleGeoradiusStore
	// ruleMigrate: MIGRATE host port key|"" db timeout … [KEYS key…]
	ruleMigrate
	// ruleMigrateOptions: the same, but the arguments of other options are skipped, and KEYS together with a key is none.
	ruleMigrateOptions
	// ruleStreams: XREAD … STREAMS key… id…
	ruleStreams
	// ruleMemoryUsage: MEMORY USAGE key, and no key for any other first argument.
	ruleMemoryUsage
	// ruleLCS: STRALGO LCS … KEYS key key, unless STRINGS comes first.
	ruleLCS
	// ruleSet: SET key value …, which reads the key if GET is among the options.
	ruleSet
	// ruleBitfield: BITFIELD key …, which only reads the key if all operations are GET.
	ruleBitfield
)

// KeyRanges returns the positions of the keys in a call of the command; args includes the command's name, and that of the
// subcommand if it is one. In a call that the command itself will refuse it may find no key, as the engine does: such a
// call reads nothing. It does not allocate.
//
// It follows the engine to the letter where a stricter reading would let a permission check look at other arguments than the
// command later uses: the rules read numbers like C's atoi, the last STORE wins, and the word STORE does not shield the
// argument after it from being read as an option.
func (c *Command) KeyRanges(args [][]byte) (ranges KeyRanges) {
	c.FindKeyRanges(args, &ranges)
	return ranges
}

// FindKeyRanges is KeyRanges for those who are in a hurry: it writes to ranges, which are to be without keys.
func (c *Command) FindKeyRanges(args [][]byte, ranges *KeyRanges) {
	// What follows relies on the arguments that the arity promises.
	if c.keys == noKeys || !c.ArityOK(len(args)) {
		return
	}
	if c.keys == keysBySpecs {
		if c.specifiedKeys(args, ranges) {
			return
		}
		*ranges = KeyRanges{}
	}
	c.ruleKeys(args, ranges)
}

// specifiedKeys evaluates the key specifications, or reports that they do not fit the arguments.
func (c *Command) specifiedKeys(args [][]byte, ranges *KeyRanges) bool {
	n := 0
	for i := range c.Specs {
		s := &c.Specs[i]
		if s.Flags&NotKey != 0 {
			continue
		}
		first := s.Index
		if first == 0 {
			if first = s.afterKeyword(args); first == 0 {
				continue
			}
		}
		last := first + s.Last
		switch {
		case s.Find == FindKeynum:
			at := first + s.Keynum
			if at >= len(args) {
				return false
			}
			count, valid := parseInt(args[at])
			if !valid || count < 0 {
				return false
			}
			first += s.First
			last = first + int(int32(count)) - 1 // the engine cuts to 32 bits too
		case s.Last < 0 && s.Limit == 0:
			last = len(args) + s.Last
		case s.Last < 0:
			last = first + (len(args)-first)/s.Limit + s.Last
		}
		if last < first || last >= len(args) || s.Flags&KeyIncomplete != 0 {
			return false
		}
		ranges[n] = KeyRange{First: first, Last: last, Step: s.Step, Flags: s.Flags}
		n++
	}
	return true
}

// afterKeyword returns the position after the keyword, 0 if it is not found. The last argument, or the first when searching
// backwards, is not looked at: no key could follow.
func (s *KeySpec) afterKeyword(args [][]byte) int {
	if s.From > 0 {
		for i := s.From; i < len(args)-1; i++ {
			if equalFoldASCII(args[i], s.Keyword) {
				return i + 1
			}
		}
		return 0
	}
	for i := len(args) + s.From; i > 1; i-- {
		if equalFoldASCII(args[i], s.Keyword) {
			return i + 1
		}
	}
	return 0
}

func (c *Command) ruleKeys(args [][]byte, ranges *KeyRanges) {
	first, second := &ranges[0], &ranges[1]
	switch c.rule {
	case ruleNumkeys:
		*first = countedKeys(args, 2)
	case ruleNumkeysFirst:
		*first = countedKeys(args, 1)
	case ruleNumkeysDestination:
		if *first = countedKeys(args, 2); first.First != 0 {
			*second = single(1, 0)
		}
	case ruleSortStore:
		*first, *second = single(1, KeyRO|KeyAccess), single(sortDestination(args), KeyOW|KeyUpdate)
	case ruleSortRO:
		*first = single(1, KeyRO|KeyAccess)
	case ruleGeoradiusStore:
		*first, *second = single(1, 0), single(georadiusDestination(args), 0)
	case ruleMigrate:
		*first = migrateKeys(args)
	case ruleMigrateOptions:
		*first = migrateOptionKeys(args)
	case ruleStreams:
		*first = streamKeys(args)
	case ruleMemoryUsage:
		*first = memoryUsageKey(args)
	case ruleLCS:
		*first = lcsKeys(args)
	case ruleSet:
		*first = single(1, setFlags(args))
	case ruleBitfield:
		*first = single(1, bitfieldFlags(args))
	default:
		// With specifications the engine does not ask the positions any more.
		if c.Specs == nil {
			*first = c.positionedKeys(len(args))
		}
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

// countedKeys reads the number of keys from the argument at that position and finds them after it.
func countedKeys(args [][]byte, at int) KeyRange {
	n := 0
	if arg := args[at]; len(arg) == 1 && '0' <= arg[0] && arg[0] <= '9' {
		n = int(arg[0] - '0') // nearly always
	} else {
		n = atoi(arg)
	}
	if n < 1 || n > len(args)-at-1 {
		return KeyRange{}
	}
	return KeyRange{First: at + 1, Last: at + n, Step: 1}
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
	return single(3, 0)
}

func migrateOptionKeys(args [][]byte) KeyRange {
	const flags = KeyRW | KeyAccess | KeyDelete
	for i := 6; i < len(args); i++ {
		switch arg := args[i]; {
		case equalFold(arg, "keys"):
			if len(args[3]) > 0 || i+1 == len(args) {
				return KeyRange{}
			}
			return KeyRange{First: i + 1, Last: len(args) - 1, Step: 1, Flags: flags}
		case equalFold(arg, "auth"):
			i++
		case equalFold(arg, "auth2"):
			i += 2
		}
	}
	return single(3, flags)
}

func setFlags(args [][]byte) KeyFlags {
	for _, arg := range args[3:] {
		if equalFold(arg, "get") {
			return KeyRW | KeyAccess | KeyUpdate
		}
	}
	return KeyOW | KeyUpdate
}

func bitfieldFlags(args [][]byte) KeyFlags {
	for i := 2; i < len(args); i++ {
		switch left := len(args) - i - 1; {
		case equalFold(args[i], "get") && left >= 2:
			i += 2
		case equalFold(args[i], "overflow") && left >= 1:
			i++
		default:
			// SET, INCRBY, or what the command will refuse.
			return KeyRW | KeyAccess | KeyUpdate
		}
	}
	return KeyRO | KeyAccess
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
		return single(2, 0)
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
func single(position int, flags KeyFlags) KeyRange {
	return KeyRange{First: position, Last: position, Step: 1, Flags: flags}
}

// equalFoldASCII compares in ASCII with a word in any case.
func equalFoldASCII(arg []byte, word string) bool {
	if len(arg) != len(word) {
		return false
	}
	for i, b := range arg {
		if lowerASCII(b) != lowerASCII(word[i]) {
			return false
		}
	}
	return true
}

func lowerASCII(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		b += 'a' - 'A'
	}
	return b
}

// parseInt reads a number as the engine does where it is strict: decimal, 64 bits, and spelled in the one shortest way.
func parseInt(arg []byte) (n int64, ok bool) {
	if len(arg) == 0 || len(arg) > 20 {
		return 0, false
	}
	digits := arg
	if arg[0] == '-' {
		digits = arg[1:]
	}
	if len(digits) == 0 || digits[0] == '0' && len(arg) > 1 {
		return 0, false
	}
	for _, b := range digits {
		if b < '0' || b > '9' || n < (math.MinInt64+int64(b-'0'))/10 {
			return 0, false
		}
		n = n*10 - int64(b-'0')
	}
	if len(digits) == len(arg) {
		if n == math.MinInt64 {
			return 0, false
		}
		n = -n
	}
	return n, true
}

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
			return int(int32(n)) // cutting to 32 bits is what is imitated
		}
		n = n*10 + digit
	}
	return int(int32(sign * n))
}
