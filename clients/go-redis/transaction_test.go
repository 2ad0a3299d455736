package main

import (
	"context"
	"net"
	"testing"

	driver "github.com/entracache/entracache/clients/go-driver"
	"github.com/entracache/entracache/clients/go-driver/drivertest"
	"github.com/redis/go-redis/v9"
)

func TestTransactions(t *testing.T) {
	drivertest.Transactions(t, func(dial func() net.Conn) driver.Transactor {
		return &client{rdb: redis.NewClient(&redis.Options{
			Protocol: 2,
			Dialer:   func(context.Context, string, string) (net.Conn, error) { return dial(), nil },
		})}
	}, describe)
}
