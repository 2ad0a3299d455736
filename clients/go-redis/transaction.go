package main

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// Transact runs a transaction as go-redis' documentation has it: TxPipelined, which sends MULTI, the commands and EXEC together, and where
// keys are watched inside a function that Watch calls.
func (c *client) Transact(ctx context.Context, commands [][]string, watch []string, exec func() error) (any, error) {
	var cmds []redis.Cmder
	run := func(pipelined func(context.Context, func(redis.Pipeliner) error) ([]redis.Cmder, error)) error {
		err := exec()
		if err != nil {
			return err
		}
		cmds, err = pipelined(ctx, func(pipe redis.Pipeliner) error {
			for _, args := range commands {
				pipe.Do(ctx, generic(args)...)
			}
			return nil
		})
		return err
	}
	var err error
	if len(watch) == 0 {
		err = run(c.rdb.TxPipelined)
	} else {
		err = c.rdb.Watch(ctx, func(tx *redis.Tx) error { return run(tx.TxPipelined) }, watch...)
	}
	if errors.Is(err, redis.TxFailedErr) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	values := make([]any, len(cmds))
	for i, cmd := range cmds {
		values[i] = cmd.(*redis.Cmd).Val()
	}
	return values, nil
}
