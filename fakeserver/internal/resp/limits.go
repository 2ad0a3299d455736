package resp

// Limits bounds what one client can make the server read. A zero field means Redis 6.0's value, given at each field.
type Limits struct {
	// Args is the largest number of arguments of one command, its name included. 1,048,576 in Redis 6.x;
	// 2,147,483,647 in 7.x. Beyond it: "Protocol error: invalid multibulk length".
	Args int64
	// Bulk is the largest argument in bytes (proto-max-bulk-len): 512 MiB. Beyond it: "Protocol error: invalid bulk
	// length".
	Bulk int64
	// Line is the longest line in bytes, without its end: an inline command, or the number after * or $. 64 KiB.
	// Beyond it: "Protocol error: too big inline request", "… mbulk count string" or "… bulk count string".
	Line int
	// Overrun is by how many bytes a line may exceed Line if its end has arrived meanwhile, because Redis looks at the
	// limit only where it does not find the end in what it has read so far. 16 KiB, the size of its reads; since 7.0,
	// which reads as much as its buffer has room for, 96 KiB.
	Overrun int
	// UnauthenticatedArgs is Args for a connection that has not signed in: 10, since Redis 6.0.16.
	// Beyond it: "Protocol error: unauthenticated multibulk length".
	UnauthenticatedArgs int64
	// UnauthenticatedBulk is Bulk for a connection that has not signed in: 16,384 bytes, since Redis 6.0.16. A longer
	// token cannot be used to sign in. Beyond it: "Protocol error: unauthenticated bulk length".
	UnauthenticatedBulk int64
	// Command is the largest command in bytes, framing included: 1 GiB, the default of Redis' nearest limit,
	// client-query-buffer-limit. Beyond it the connection is closed without a reply, as Redis does there.
	Command int64
}

// The limits of Redis 6.0.
const (
	defaultArgs                = 1024 * 1024
	defaultBulk                = 512 << 20
	defaultLine                = 64 << 10
	defaultOverrun             = 16 << 10
	defaultUnauthenticatedArgs = 10
	defaultUnauthenticatedBulk = 16384
	defaultCommand             = 1 << 30
)

func (l Limits) withDefaults() Limits {
	set := func(v *int64, def int64) {
		if *v <= 0 {
			*v = def
		}
		*v = min(*v, 1<<48) // so that sums of them fit
	}
	set(&l.Args, defaultArgs)
	set(&l.Bulk, defaultBulk)
	set(&l.UnauthenticatedArgs, defaultUnauthenticatedArgs)
	set(&l.UnauthenticatedBulk, defaultUnauthenticatedBulk)
	set(&l.Command, defaultCommand)
	if l.Line <= 0 {
		l.Line = defaultLine
	}
	if l.Overrun <= 0 {
		l.Overrun = defaultOverrun
	}
	return l
}
