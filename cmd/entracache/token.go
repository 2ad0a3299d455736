package main

import (
	"context"
	"fmt"
)

type tokenCmd struct {
	pairFlags
}

func (c *tokenCmd) Run(ctx context.Context, std streams) error {
	pair, err := c.resolve()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	token, err := pair.signIn(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(std.out, token)
	return err
}
