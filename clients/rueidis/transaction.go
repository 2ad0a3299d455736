package main

import (
	"context"

	"github.com/redis/rueidis"
)

// Transact runs a transaction as rueidis' documentation has it: MULTI, the commands and EXEC in one DoMulti, and where keys are watched on
// the connection of a function that Dedicated calls.
func (c *client) Transact(ctx context.Context, commands [][]string, watch []string, exec func() error) (replies any, err error) {
	if len(watch) == 0 {
		if err := exec(); err != nil {
			return nil, err
		}
		return c.transact(ctx, c.rueidis, commands)
	}
	err = c.rueidis.Dedicated(func(dedicated rueidis.DedicatedClient) error {
		err := dedicated.Do(ctx, dedicated.B().Watch().Key(watch...).Build()).Error()
		if err == nil {
			err = exec()
		}
		if err == nil {
			replies, err = c.transact(ctx, dedicated, commands)
		}
		return err
	})
	return replies, err
}

// transact returns the reply to EXEC, or the first error.
func (c *client) transact(ctx context.Context, on rueidis.CommandClient, commands [][]string) (any, error) {
	all := rueidis.Commands{on.B().Multi().Build()}
	for _, args := range commands {
		all = append(all, c.build(args))
	}
	results := on.DoMulti(ctx, append(all, on.B().Exec().Build())...)
	last := len(results) - 1
	for _, result := range results[:last] {
		if err := result.Error(); err != nil {
			return nil, err
		}
	}
	return orNull(results[last].ToAny())
}
