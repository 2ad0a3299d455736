package main

import (
	"context"
	"errors"

	driver "github.com/entracache/entracache/clients/go-driver"
	"github.com/redis/go-redis/v9"
)

// transaction is one that was begun, as go-redis' documentation has it: TxPipelined, which sends MULTI, the commands and EXEC together,
// and where keys are watched inside a function that Watch calls. That function waits here for the harness to say exec.
type transaction struct {
	exec chan struct{} // closed by exec
	done chan struct{} // closed once it ran, or did not
	cmds []redis.Cmder
	err  error
}

// Begin returns when the keys are watched. Without any, nothing has been sent then.
func (c *client) Begin(ctx context.Context, commands [][]string, watch []string) error {
	t := &transaction{exec: make(chan struct{}), done: make(chan struct{})}
	watched := make(chan struct{})
	pipelined := c.rdb.TxPipelined
	run := func() error {
		close(watched)
		<-t.exec
		var err error
		t.cmds, err = pipelined(ctx, func(pipe redis.Pipeliner) error {
			for _, args := range commands {
				generic := make([]any, len(args))
				for i, arg := range args {
					generic[i] = arg
				}
				pipe.Do(ctx, generic...)
			}
			return nil
		})
		return err
	}
	go func() {
		defer close(t.done)
		if len(watch) == 0 {
			t.err = run()
			return
		}
		t.err = c.rdb.Watch(ctx, func(tx *redis.Tx) error {
			pipelined = tx.TxPipelined
			return run()
		}, watch...)
	}()
	select {
	case <-watched:
	case <-t.done:
		return t.err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begun = t
	return nil
}

// Exec returns the replies, or nil where a watched key had changed.
func (c *client) Exec() (any, error) {
	c.mu.Lock()
	t := c.begun
	c.begun = nil
	c.mu.Unlock()
	if t == nil {
		return nil, &driver.ConfigError{Err: errors.New("exec: no transaction was begun")}
	}
	close(t.exec)
	<-t.done
	if errors.Is(t.err, redis.TxFailedErr) {
		return nil, nil
	}
	if t.err != nil {
		return nil, t.err
	}
	values := make([]any, len(t.cmds))
	for i, cmd := range t.cmds {
		values[i] = cmd.(*redis.Cmd).Val()
	}
	return values, nil
}
