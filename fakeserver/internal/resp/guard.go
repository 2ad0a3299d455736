package resp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// redconBuffer is what redcon's reader starts with, and falls back to between commands, in bytes.
	redconBuffer = 4096
	// padAbove is the size in bytes of a command after which redcon's reader is made to let go of its buffer.
	padAbove = 32 << 10
	// minRead is the shortest slice that the framer works in: every valid header line fits several times.
	minRead = 512
	// fragmentRoom is how much room there must be behind the fragment of a line for it to be completed in place.
	fragmentRoom = 256
	// emptyReads is how often in a row a connection may return nothing at all, as in package bufio.
	emptyReads = 100
	// atOnce is how long a read waits that is only after what has come already.
	atOnce = 2 * time.Millisecond
)

// Options of a Guard. The zero value is Redis 6.0's behaviour with no deadlines.
type Options struct {
	// Limits of the input; the zero value is Redis 6.0's.
	Limits Limits
	// OnProtocolError, if set, is called once when the guard ends the stream because of what the client sent, before
	// anything is written, in the goroutine that reads. The text is the error on the wire without its leading '-'
	// ("ERR Protocol error: invalid bulk length"), or a sentence that begins with "closed without a reply: " where
	// Redis says nothing.
	OnProtocolError func(text string)
	// WriteTimeout bounds each Write. A client that does not take its replies for so long is cut. 0, the default, means
	// no bound.
	WriteTimeout time.Duration
	// FirstCommandTimeout bounds the time from NewGuard until the first complete command has been read; over TLS that
	// includes the handshake. Read then fails with os.ErrDeadlineExceeded. 0, the default, means no bound, as in Redis.
	FirstCommandTimeout time.Duration
	// ReadAhead is how many bytes WatchDisconnect may take from the connection before it stops looking. Default 64 KiB.
	ReadAhead int
}

// Guard is the connection that redcon gets instead of the client's: see the package comment. Read, WatchDisconnect and
// the stop function of the latter belong to one goroutine, which in redcon is the one that runs the handler. All other
// methods may be called from any goroutine.
//
// A Guard is made for redcon: after a large command its output can hold a number with leading zeros, which redcon
// accepts, see pad.
type Guard struct {
	conn net.Conn
	opts Options

	framer
	in        buffer // what the client sent and has not been framed
	short     []byte // framed, for a caller whose slice is too short to frame in
	readErr   error  // from conn, to be returned once everything before it has been
	gone      bool   // the client left while a handler was waiting: nothing more is handed over
	started   bool   // the first command has been handed over
	stopWatch func()

	deadlines    sync.Mutex
	readDeadline time.Time // as asked for by the user of the guard
	firstCommand time.Time // from Options.FirstCommandTimeout
	interrupted  bool      // WatchDisconnect is being stopped
	hasty        bool      // fillAtOnce reads

	writing  sync.Mutex
	writeErr error
	holding  bool   // written by Read's goroutine only
	held     []byte // what was written meanwhile
}

var _ net.Conn = (*Guard)(nil)

// NewGuard puts a guard before c. A new connection counts as not authenticated.
func NewGuard(c net.Conn, o Options) *Guard {
	if o.ReadAhead <= 0 {
		o.ReadAhead = 64 << 10
	}
	g := &Guard{conn: c, opts: o}
	g.limits = o.Limits.withDefaults()
	if o.FirstCommandTimeout > 0 {
		g.deadlines.Lock()
		g.firstCommand = time.Now().Add(o.FirstCommandTimeout)
		_ = g.applyReadDeadline() // a connection that is closed already says so at its first Read
		g.deadlines.Unlock()
	}
	return g
}

// SetAuthenticated lifts or restores the limits for clients that have not signed in. It applies to the commands that
// have not been handed over yet; before sign-in that is every command but the one being handled, because until then
// Read returns one command at a time.
func (g *Guard) SetAuthenticated(on bool) { g.authenticated.Store(on) }

// Buffered says whether more has come from the client than what Read has returned. It is for the goroutine that reads.
func (g *Guard) Buffered() bool { return g.in.len() > 0 || g.pending.len() > 0 || len(g.short) > 0 }

// NetConn returns the connection behind the guard. Reading from it or writing to it goes past the guard.
func (g *Guard) NetConn() net.Conn { return g.conn }

// Read returns whole commands in canonical form: as many as are there and fit p once the client is authenticated, one
// before. It waits for at least one. A command longer than p is returned in pieces that fill p; if such a command turns
// out to be broken, its end never comes.
//
// Where the client breaks the protocol, the commands before are returned first, and the next Read writes the error and
// returns io.EOF.
func (g *Guard) Read(p []byte) (int, error) {
	if g.stopWatch != nil {
		g.stopWatch()
	}
	if g.gone {
		return 0, g.readErr
	}
	if len(p) == 0 {
		return 0, nil
	}
	if len(g.short) == 0 {
		if len(p) >= minRead {
			return g.read(p)
		}
		buf := make([]byte, minRead)
		n, err := g.read(buf)
		if err != nil {
			return 0, err
		}
		g.short = buf[:n]
	}
	n := copy(p, g.short)
	g.short = g.short[n:]
	return n, nil
}

func (g *Guard) read(p []byte) (int, error) {
	n := 0
	g.done, g.whole = 0, 0
	for {
		if k := g.pending.len(); k > 0 {
			if g.done > 0 && k > len(p)-n {
				break
			}
			k = copy(p[n:], g.pending.bytes())
			g.pending.consume(k)
			n += k
			if g.pending.len() == 0 && g.phase == betweenCommands {
				g.completed(n)
			}
		}
		if g.broken {
			if g.done == 0 {
				return 0, g.end()
			}
			break
		}
		if n == len(p) || g.done > 0 && !g.authenticated.Load() {
			break
		}

		var s stop
		var used int
		n, used, s = g.frame(p, n, g.in.bytes())
		g.in.consume(used)
		if s == stopMore && n < len(p) && g.done == 0 {
			g.Flush()
			if err := g.readErr; err != nil && n == 0 {
				if isTimeout(err) {
					g.readErr = nil // the deadline may be moved, and reading go on
				}
				return 0, err
			} else if err != nil {
				break
			}
			if g.padDue(p, n) {
				return g.pad(p), nil
			}
			n, s = g.fill(p, n)
		}
		if s == stopLong && g.done == 0 {
			g.fillAtOnce()
			continue
		}
		if s == stopFull || g.done > 0 && (s == stopMore || s == stopLong) {
			break
		}
	}
	if g.done == 0 {
		return n, nil
	}
	g.hold(!g.authenticated.Load() && g.in.len() > 0)
	// The beginning of the next command waits here: redcon's buffer grows at each Read that leaves it with a part of a
	// command, and is reset only by one that does not.
	g.pending.append(p[g.whole:n])
	if !g.started {
		g.started = true
		g.clearFirstCommand()
	}
	return g.whole, nil
}

// fill reads once from the connection and frames what came, in p[n:] itself where possible.
func (g *Guard) fill(p []byte, n int) (int, stop) {
	fragment := g.in.len()
	if room := len(p) - n - fragment; fragment > 0 && room < fragmentRoom {
		m, err := g.readConn(g.in.reserve(redconBuffer))
		g.in.commit(m)
		g.readErr = err
		return n, stopEvent // framed from there
	}
	copy(p[n:], g.in.bytes())
	g.in.reset()
	m, err := g.readConn(p[n+fragment:])
	g.readErr = err
	src := p[n : n+fragment+m]
	n, used, s := g.frame(p, n, src)
	g.in.append(src[used:])
	return n, s
}

// fillAtOnce reads what has come from the connection already. Where that is nothing, the line at which the framer
// stopped is too long.
func (g *Guard) fillAtOnce() {
	if g.readErr == nil {
		g.hurry(true)
		n, err := g.conn.Read(g.in.reserve(redconBuffer))
		g.hurry(false)
		g.in.commit(n)
		if err != nil && !isTimeout(err) {
			g.readErr = err
		}
		if n > 0 {
			return
		}
	}
	g.nothingMore = true
}

func (g *Guard) hurry(on bool) {
	g.deadlines.Lock()
	defer g.deadlines.Unlock()
	g.hasty = on
	_ = g.applyReadDeadline() // it fails only if the connection is closed, which the next Read says
}

func (g *Guard) readConn(p []byte) (int, error) {
	for range emptyReads {
		if n, err := g.conn.Read(p); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// end tells the client, once, why nothing more is read from it.
func (g *Guard) end() error {
	v := g.violation
	if v == (violation{}) {
		return io.EOF
	}
	g.violation = violation{}
	g.in = buffer{}
	if g.opts.OnProtocolError != nil {
		g.opts.OnProtocolError(v.reply + v.note)
	}
	if v.reply != "" {
		g.hold(false)
		_, _ = g.Write(AppendError(nil, v.reply)) // the stream ends either way
	}
	return io.EOF
}

// padDue reports whether redcon holds a large buffer, has nothing in it, and would now have to wait.
func (g *Guard) padDue(p []byte, n int) bool {
	return g.largest > padAbove && n == 0 && g.in.len() == 0 && g.phase == betweenCommands && !g.padded &&
		len(p) == redconBuffer
}

// pad makes redcon give its buffer back. After a large command redcon 1.6.4 uses no more than the first 4 KiB of the
// buffer that it grew to, but keeps all of it (20 idle connections held 320 MiB after one command of 8 MiB each), until
// a command that does not fit these 4 KiB makes it allocate a new one. So the next command begins now, with so many
// leading zeros in its number of arguments that they fill the 4 KiB.
func (g *Guard) pad(p []byte) int {
	g.largest = 0
	g.padded = true
	p[0] = '*'
	for i := range p[1:] {
		p[1+i] = '0'
	}
	return len(p)
}

// hold says whether what is written is to wait. Redis answers the commands that came together when it has run them all,
// and not at all where one of them closes the connection without a word. redcon does the same with what one Read
// returns, which before sign-in is one command only. So then the replies wait here, until nothing is left to be framed.
func (g *Guard) hold(on bool) {
	if on != g.holding {
		g.writing.Lock()
		g.holding = on
		g.writing.Unlock()
	}
}

// Flush writes what was held back, because more commands are there, and holds nothing back until the next Read. It is
// to be called before Close where the client is to see the replies. It belongs to the goroutine that reads.
func (g *Guard) Flush() {
	g.hold(false)
	if len(g.held) > 0 {
		_, _ = g.Write(nil) // a failed write shows again at the next one
	}
}

// Write writes b whole: what several goroutines write is never mixed. After an error, a timeout included, the
// connection is cut, because nobody can tell how much of a reply has arrived. Before sign-in, what is written waits
// while more commands are there; see Flush.
func (g *Guard) Write(b []byte) (int, error) {
	g.writing.Lock()
	defer g.writing.Unlock()
	if g.writeErr != nil {
		return 0, g.writeErr
	}
	if g.holding {
		g.held = append(g.held, b...)
		return len(b), nil
	}
	before := len(g.held)
	if before > 0 {
		b = append(g.held, b...)
		g.held = nil
	}
	if len(b) == 0 {
		// redcon flushes even if there is nothing, and over TLS that would send an empty record.
		return 0, nil
	}
	if g.opts.WriteTimeout > 0 {
		if err := g.conn.SetWriteDeadline(time.Now().Add(g.opts.WriteTimeout)); err != nil {
			return 0, err
		}
	}
	n, err := g.conn.Write(b)
	if err != nil {
		g.writeErr = fmt.Errorf("write to %v after an earlier write failed: %w", g.conn.RemoteAddr(), err)
		_ = g.Abort()
	}
	return max(0, n-before), err
}

// Close closes the connection; what is held back is lost. Over TLS it says goodbye first, for which it can wait up to five seconds if the client
// takes no data; Abort does not.
func (g *Guard) Close() error { return g.conn.Close() }

// CloseWrite tells the client that nothing more will come, where the connection can do that: with TLS' close_notify, or the
// end of the stream. It does nothing while a Write is under way. Reads go on; Close is still to come.
func (g *Guard) CloseWrite() error {
	c, ok := g.conn.(interface{ CloseWrite() error })
	if !ok || !g.writing.TryLock() {
		return nil
	}
	defer g.writing.Unlock()
	return c.CloseWrite()
}

// Abort closes the transport at once, under TLS without a close_notify alert.
func (g *Guard) Abort() error {
	if c, ok := g.conn.(interface{ NetConn() net.Conn }); ok {
		return c.NetConn().Close()
	}
	return g.conn.Close()
}

// LocalAddr returns the server's address of the connection.
func (g *Guard) LocalAddr() net.Addr { return g.conn.LocalAddr() }

// RemoteAddr returns the client's address.
func (g *Guard) RemoteAddr() net.Addr { return g.conn.RemoteAddr() }

// SetDeadline sets the read and the write deadline.
func (g *Guard) SetDeadline(t time.Time) error {
	return errors.Join(g.SetReadDeadline(t), g.SetWriteDeadline(t))
}

// SetReadDeadline bounds the Reads to come and the one under way, beside Options.FirstCommandTimeout. While
// WatchDisconnect watches, passing the deadline counts as a disconnect.
func (g *Guard) SetReadDeadline(t time.Time) error {
	g.deadlines.Lock()
	defer g.deadlines.Unlock()
	g.readDeadline = t
	return g.applyReadDeadline()
}

// SetWriteDeadline bounds the Writes to come. With Options.WriteTimeout each Write sets its own deadline instead.
func (g *Guard) SetWriteDeadline(t time.Time) error { return g.conn.SetWriteDeadline(t) }

// applyReadDeadline hands the earliest of the deadlines to the connection. g.deadlines is held.
func (g *Guard) applyReadDeadline() error {
	t := g.readDeadline
	if !g.firstCommand.IsZero() && (t.IsZero() || g.firstCommand.Before(t)) {
		t = g.firstCommand
	}
	if g.hasty {
		t = time.Now().Add(atOnce)
	}
	if g.interrupted {
		t = time.Unix(1, 0) // long past
	}
	return g.conn.SetReadDeadline(t)
}

func (g *Guard) clearFirstCommand() {
	g.deadlines.Lock()
	defer g.deadlines.Unlock()
	if !g.firstCommand.IsZero() {
		g.firstCommand = time.Time{}
		_ = g.applyReadDeadline() // it fails only if the connection is closed, which the next Read says
	}
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
