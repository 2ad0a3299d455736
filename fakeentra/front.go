package fakeentra

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
)

// front is one of the servers' faces: an HTTP server with the listeners that feed
// it, whose close waits for everything.
type front struct {
	http      *http.Server
	secure    bool // speaks TLS
	conns     connTracker
	accepting sync.WaitGroup

	mu        sync.Mutex
	listeners []*listener
}

// connectionKey is where a request's context has its net.Conn.
type connectionKey struct{}

// newFront makes a front that speaks TLS if there is a configuration for it.
func newFront(handler http.Handler, secure *tls.Config) *front {
	f := &front{secure: secure != nil}
	f.http = &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ConnState:         f.conns.observe,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connectionKey{}, c)
		},
		// What it would print is clients that hang up: noise in a test's output.
		ErrorLog:  log.New(io.Discard, "", 0),
		TLSConfig: secure,
	}
	return f
}

func (f *front) serve(l *listener) {
	f.mu.Lock()
	f.listeners = append(f.listeners, l)
	f.mu.Unlock()
	f.accepting.Go(func() {
		// Always an error; the one that matters, a listener that breaks, shows up as
		// clients that cannot connect.
		if f.secure {
			_ = f.http.ServeTLS(l, "", "")
		} else {
			_ = f.http.Serve(l)
		}
	})
}

func (f *front) setDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.listeners {
		l.setDown(down)
	}
}

// close stops the front. When it returns every connection is closed and its
// goroutine done but for the last instructions of some.
func (f *front) close() error {
	err := f.http.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	f.accepting.Wait()
	f.mu.Lock()
	for _, l := range f.listeners {
		l.cutAll() // what was accepted too late for Close to know it
	}
	f.mu.Unlock()
	f.conns.wait()
	return err
}

// connTracker follows the connections of an http.Server, whose Close does not
// wait for the goroutines that serve them.
type connTracker struct {
	mu   sync.Mutex
	open map[net.Conn]struct{}
	live sync.WaitGroup
}

func (t *connTracker) observe(c net.Conn, state http.ConnState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch state {
	case http.StateNew:
		if t.open == nil {
			t.open = map[net.Conn]struct{}{}
		}
		t.open[c] = struct{}{}
		t.live.Add(1)
	case http.StateClosed, http.StateHijacked:
		if _, ok := t.open[c]; ok { // HTTP/2 may report the end twice
			delete(t.open, c)
			t.live.Done()
		}
	}
}

func (t *connTracker) wait() { t.live.Wait() }
