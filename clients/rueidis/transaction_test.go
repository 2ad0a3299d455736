package main

import (
	"net"
	"testing"

	driver "github.com/entracache/entracache/clients/go-driver"
	"github.com/entracache/entracache/clients/go-driver/drivertest"
)

func TestTransactions(t *testing.T) {
	drivertest.Transactions(t, func(dial func() net.Conn) driver.Transactor {
		opened, err := connect(dial)
		if err != nil {
			t.Fatal(err)
		}
		return &client{rueidis: opened}
	}, describe)
}
