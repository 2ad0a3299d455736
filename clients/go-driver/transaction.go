package driver

import (
	"context"
	"errors"
)

// Transactor is a client of a library with the capability transactions.
type Transactor interface {
	// Transact runs a transaction in the library's way, and returns the replies, or nil where a watched key had changed. The keys to be
	// watched may be none. It calls exec when what the library sends before EXEC has been sent, and returns exec's error, if there is one.
	Transact(ctx context.Context, commands [][]string, watch []string, exec func() error) (any, error)
}

// transaction is one that was begun: its Transact waits for the harness to say exec.
type transaction struct {
	exec    chan error    // receives once: why the transaction is not to be run, or nil
	done    chan struct{} // closed once it ran, or did not
	replies any
	err     error
}

func (o *opened) begin(ctx context.Context, commands [][]string, watch []string) error {
	library, ok := o.Client.(Transactor)
	if !ok {
		return &UnsupportedError{"op", "begin"}
	}
	t := &transaction{exec: make(chan error, 1), done: make(chan struct{})}
	sent := make(chan struct{})
	go func() {
		defer close(t.done)
		t.replies, t.err = library.Transact(ctx, commands, watch, func() error {
			close(sent)
			return <-t.exec
		})
	}()
	select {
	case <-sent:
		o.begun.Store(t)
		return nil
	case <-t.done:
		return t.err
	}
}

func (o *opened) exec() (any, error) {
	t := o.begun.Swap(nil)
	if t == nil {
		return nil, &ConfigError{errors.New("exec: no transaction was begun")}
	}
	t.exec <- nil
	<-t.done
	return t.replies, t.err
}

// abandon ends a transaction that was begun without running it, so that the library has its connection back.
func (o *opened) abandon() {
	if t := o.begun.Swap(nil); t != nil {
		t.exec <- errUnknownClient
	}
}
