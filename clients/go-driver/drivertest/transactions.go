package drivertest

import (
	"context"
	"errors"
	"net"
	"reflect"
	"slices"
	"testing"

	driver "github.com/entracache/entracache/clients/go-driver"
)

// Transactions tests that a library's transactions come to a cache as a whole, behind what is watched, and what is made of the replies.
// open makes a client over connections that dial opens; it speaks RESP2 and does not sign in.
func Transactions(t *testing.T, open func(dial func() net.Conn) driver.Transactor, describe func(error) *driver.Failure) {
	whole := []string{"MULTI", "INCR a", "INCR b", "EXEC"}
	watched := append([]string{"WATCH a b"}, whole...)
	for name, test := range map[string]struct {
		watch   []string
		answers map[string]string // instead of those of a cache where all is well
		sent    []string
		want    any
		kind    string // of an error
	}{
		"run":         {nil, nil, whole, []any{int64(1), int64(2)}, ""},
		"watched":     {[]string{"a", "b"}, nil, watched, []any{int64(1), int64(2)}, ""},
		"changed":     {[]string{"a", "b"}, map[string]string{"EXEC": "*-1\r\n"}, watched, nil, ""},
		"denied":      {nil, map[string]string{"INCR": "-NOPERM no\r\n", "EXEC": "-EXECABORT no\r\n"}, whole, nil, "redis"},
		"watch fails": {[]string{"a"}, map[string]string{"WATCH": "-NOPERM no\r\n"}, []string{"WATCH a"}, nil, "redis"},
	} {
		t.Run(name, func(t *testing.T) {
			cache := &Cache{Answer: func(command string) string {
				if special, ok := test.answers[command]; ok {
					return special
				}
				return answer(command)
			}}
			client := open(cache.Dial)
			defer client.(driver.Client).Close()
			got, err := client.Transact(context.Background(), [][]string{{"INCR", "a"}, {"INCR", "b"}}, test.watch, func() error {
				if sent := cache.Commands(); len(sent) != len(test.sent)-len(whole) {
					t.Errorf("before the transaction is run %q was sent", sent)
				}
				return nil
			})
			switch {
			case test.kind != "":
				if err == nil || describe(err).Kind != test.kind {
					t.Errorf("got %v, %v, want an error of kind %q", got, err, test.kind)
				}
			case err != nil || !reflect.DeepEqual(got, test.want):
				t.Errorf("got %v, %v, want %v", got, err, test.want)
			}
			// Behind it there may be an UNWATCH.
			if sent := cache.Commands(); !slices.Equal(sent[:min(len(sent), len(test.sent))], test.sent) {
				t.Errorf("%q was sent, want %q", sent, test.sent)
			}
		})
	}
	t.Run("abandoned", func(t *testing.T) {
		cache := &Cache{Answer: answer}
		client := open(cache.Dial)
		defer client.(driver.Client).Close()
		closed := errors.New("closed")
		_, err := client.Transact(context.Background(), [][]string{{"INCR", "a"}}, []string{"a"}, func() error { return closed })
		if sent := cache.Commands(); !errors.Is(err, closed) || slices.Contains(sent, "MULTI") {
			t.Errorf("got %v after %q, want that error and no MULTI", err, sent)
		}
	})
}

// answer is what a cache says where all is well.
func answer(command string) string {
	switch command {
	case "HELLO":
		return "-ERR unknown command `HELLO`\r\n" // it speaks RESP2 only
	case "INCR":
		return "+QUEUED\r\n"
	case "EXEC":
		return "*2\r\n:1\r\n:2\r\n"
	default:
		return "+OK\r\n"
	}
}
