package command

// KeyFlags say what a command does with a key. The capital ones tell whether the value is read and written at all, the
// others whether the user sees (access) or changes (update, insert, delete) it: an ACL asks for those.
type KeyFlags uint16

// The flags, in the order in which COMMAND shows them.
const (
	KeyRO KeyFlags = 1 << iota
	KeyRW
	KeyOW
	KeyRM
	KeyAccess
	KeyUpdate
	KeyInsert
	KeyDelete
	// NotKey marks what looks like a key to a cluster but is none: a channel.
	NotKey
	// KeyIncomplete says that the specification may not find all keys.
	KeyIncomplete
	// KeyVariableFlags says that the other flags depend on the arguments.
	KeyVariableFlags
)

var keyFlagNames = []string{
	"RO", "RW", "OW", "RM", "access", "update", "insert", "delete", "not_key", "incomplete", "variable_flags",
}

// Names returns the names of the flags that are set, as COMMAND shows them.
func (f KeyFlags) Names() []string {
	var names []string
	for i, name := range keyFlagNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// Reads says whether the user learns something of the value, so that an ACL asks for the permission to read the key.
func (f KeyFlags) Reads() bool { return f&KeyAccess != 0 }

// Writes says whether the user changes the value, so that an ACL asks for the permission to write the key.
func (f KeyFlags) Writes() bool { return f&(KeyUpdate|KeyInsert|KeyDelete) != 0 }

// FindKind is the way in which a key specification finds the keys from where its search begins.
type FindKind uint8

// The ways.
const (
	FindUnknown FindKind = iota
	FindRange
	FindKeynum
)

// KeySpec says where some of a command's keys are and what happens to them. The search begins at argument Index, or after
// the first Keyword at or after argument From (negative: from the end, backwards); with neither, only the arguments tell.
type KeySpec struct {
	Flags   KeyFlags
	Index   int
	Keyword string
	From    int

	Find FindKind
	// FindRange: keys are every Step arguments, up to and including Last counted from the beginning of the search, or, if it
	// is negative, from the end. A Limit of n means that the keys are the first nth of the arguments that are left.
	Last, Limit int
	// FindKeynum: the number of keys is Keynum arguments after the beginning of the search, the first key First after it.
	Keynum, First int
	Step          int
}

// ChannelUse says which arguments of a command are channels that an ACL checks.
type ChannelUse uint8

// The uses.
const (
	ChannelsNone       ChannelUse = iota
	ChannelsPublish               // the first argument is a channel
	ChannelsSubscribe             // all arguments are channels
	ChannelsPSubscribe            // all arguments are patterns of channels
)
