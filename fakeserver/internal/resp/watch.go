package resp

import "sync"

// watchChunk is what a watching connection allocates for reading ahead, in bytes; it grows up to Options.ReadAhead.
const watchChunk = 512

// WatchDisconnect is for a handler that waits, as that of a blocking command does: nobody reads from the client then,
// and that it has left would go unnoticed. Until stop is called, bytes are read ahead into the guard. gone is closed
// when the connection has ended: closed by the client, reset, closed from here, or its read deadline passed. After
// Options.ReadAhead bytes reading ahead pauses until the next call of WatchDisconnect or Read, and with it the watch.
//
// stop returns when the watch has ended and must be called before the handler returns; what was read ahead is framed by
// the Reads that follow. If the client has left, that is discarded, as Redis discards what a blocked client sent
// before it left.
func (g *Guard) WatchDisconnect() (gone <-chan struct{}, stop func()) {
	g.Flush()
	if g.stopWatch != nil {
		g.stopWatch()
	}
	left := make(chan struct{})
	if g.readErr != nil {
		g.gone = true
		close(left)
		return left, func() {}
	}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		if !g.readAhead() {
			close(left)
		}
	}()
	g.stopWatch = sync.OnceFunc(func() {
		g.interruptReads(true)
		<-finished
		g.interruptReads(false)
		g.stopWatch = nil
	})
	return left, g.stopWatch
}

// readAhead reads until it is interrupted or has read enough, and then reports true, or until the connection ends.
func (g *Guard) readAhead() bool {
	for g.in.len() < g.opts.ReadAhead {
		room := g.in.reserve(watchChunk)
		n, err := g.readConn(room[:min(len(room), g.opts.ReadAhead-g.in.len())])
		g.in.commit(n)
		if err == nil {
			continue
		}
		if isTimeout(err) && g.readsInterrupted() {
			return true
		}
		g.readErr = err
		g.gone = true
		return false
	}
	return true
}

// interruptReads ends a read that is under way by means of a deadline, as net/http's server does: a TLS connection, too,
// can be read on afterwards.
func (g *Guard) interruptReads(on bool) {
	g.deadlines.Lock()
	defer g.deadlines.Unlock()
	g.interrupted = on
	_ = g.applyReadDeadline() // it fails only if the connection is closed, and then no read is under way for long
}

func (g *Guard) readsInterrupted() bool {
	g.deadlines.Lock()
	defer g.deadlines.Unlock()
	return g.interrupted
}
