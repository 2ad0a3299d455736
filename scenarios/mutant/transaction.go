package mutant

import (
	"context"
	"errors"
	"time"

	"github.com/entracache/entracache/scenarios/protocol"
)

// transaction is one that was begun on a connection of its own: its commands are queued in the cache already.
type transaction struct {
	cn       *conn
	commands [][]string
}

// inTransaction marks the context of a begin, for ForgetsTransactions.
type inTransaction struct{}

var errNoTransaction = errors.New("no transaction was begun")

// begin sends WATCH, MULTI and the commands.
func (c *client) begin(ctx context.Context, watch []string, commands [][]string) error {
	cn, err := c.take(context.WithValue(ctx, inTransaction{}, true), c.seed())
	if err != nil {
		return err
	}
	// A renewal that is under way ends first, and the next one waits for EXEC.
	cn.transaction.Lock()
	if len(watch) > 0 {
		err = c.mustDo(cn, append([]string{"WATCH"}, watch...))
	}
	if err == nil {
		err = c.queue(cn, commands)
	}
	if err != nil {
		cn.transaction.Unlock()
		cn.close()
		c.giveBack(cn, err)
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begun = &transaction{cn, commands}
	return nil
}

func (c *client) queue(cn *conn, commands [][]string) error {
	err := c.mustDo(cn, []string{"MULTI"})
	for _, args := range commands {
		if err == nil {
			err = c.mustDo(cn, args)
			if c.bug == ResendsQueued && errors.Is(err, errClosed) {
				_, err = c.command(c.ctx, args)
			}
		}
	}
	return err
}

func (c *client) mustDo(cn *conn, args []string) error {
	v, err := cn.do(c.commandTimeout(), args...)
	if err == nil && v.Type == protocol.TypeError {
		err = &serverError{v.Text}
	}
	return err
}

// exec ends the transaction. When its connection is gone nobody knows whether it ran, and what was watched is not watched any more: that
// is for the caller to judge.
func (c *client) exec(ctx context.Context) (protocol.Value, error) {
	c.mu.Lock()
	t := c.begun
	c.begun = nil
	c.mu.Unlock()
	if t == nil {
		return protocol.Value{}, errNoTransaction
	}
	moved := false
	if c.bug == MovesTransactions {
		token, err := c.tokens.get(ctx)
		moved = err == nil && token.raw != t.cn.token
	}
	var v protocol.Value
	err := errClosed
	if moved {
		t.cn.close()
	} else {
		v, err = t.cn.do(c.commandTimeout(), "EXEC")
	}
	t.cn.transaction.Unlock()
	c.giveBack(t.cn, err)
	if err != nil && (moved || c.bug == RetriesTransactions && errors.Is(err, errClosed)) {
		v, err = c.transactAnew(ctx, t.commands)
	}
	if err == nil && v.Type == protocol.TypeError {
		err = &serverError{v.Text}
	}
	return v, err
}

// transactAnew runs the commands as a transaction on another connection, as soon as there is one. Nothing is watched on it.
func (c *client) transactAnew(ctx context.Context, commands [][]string) (protocol.Value, error) {
	cn, err := c.take(ctx, c.seed())
	for end := time.Now().Add(c.commandTimeout()); err != nil && time.Now().Before(end); {
		sleep(ctx, 50*time.Millisecond)
		cn, err = c.take(ctx, c.seed())
	}
	if err != nil {
		return protocol.Value{}, err
	}
	var v protocol.Value
	if err = c.queue(cn, commands); err == nil {
		v, err = cn.do(c.commandTimeout(), "EXEC")
	}
	c.giveBack(cn, err)
	return v, err
}
