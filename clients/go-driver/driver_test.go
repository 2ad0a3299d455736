package driver_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	driver "github.com/entracache/entracache/clients/go-driver"
	"github.com/entracache/entracache/clients/go-driver/drivertest"
)

// echo is a library that answers a command with its arguments.
var echo = driver.Library{
	Name:         "echo", // and no Modules: a test binary of a package that is not main does not know any
	Capabilities: []string{"blocking", "transactions", "shared-provider"},
	Open: func(r driver.Request, other driver.Client) (driver.Client, error) {
		if _, shared := other.(*client); shared != (r.ProviderOf != "") {
			return nil, fmt.Errorf("the other client is %v", other)
		}
		if r.Cache.Host == "down" {
			return nil, &driver.OpenError{Err: errEcho}
		}
		if r.Credential.Kind != "access-key" {
			_, err := driver.NewEntra(r, policy.RetryOptions{})
			return &client{}, err
		}
		return &client{closed: make(chan struct{})}, nil
	},
	Describe: func(err error) *driver.Failure {
		if errors.Is(err, errEcho) {
			return &driver.Failure{Kind: "network", Message: err.Error()}
		}
		return &driver.Failure{Kind: "internal", Message: err.Error()}
	},
}

var errEcho = errors.New("the cache is down")

type client struct {
	closed       chan struct{}
	transactions sync.WaitGroup
}

func (c *client) Command(_ context.Context, args []string) (any, error) {
	switch args[0] {
	case "BLPOP":
		<-c.closed
		return nil, nil
	case "TOKEN":
		return nil, &driver.TokenError{Err: errEcho}
	}
	out := make([]any, len(args))
	for i, arg := range args {
		out[i] = arg
	}
	return out, nil
}

func (c *client) Subscribe(_ context.Context, channels []string, deliver func(channel, message string)) error {
	for _, channel := range channels {
		deliver(channel, "hello")
	}
	return nil
}

func (c *client) Transact(_ context.Context, commands [][]string, watch []string, exec func() error) (any, error) {
	c.transactions.Add(1)
	defer c.transactions.Done()
	if commands[0][0] == "DENIED" {
		return nil, errEcho
	}
	return commands[0][0], exec()
}

func (c *client) Close() {
	close(c.closed)
	c.transactions.Wait()
}

func TestMain(m *testing.M) { drivertest.Main(m, func() { driver.Main(echo) }) }

func TestHello(t *testing.T) { drivertest.Hello(t, echo) }

func TestEnds(t *testing.T) {
	drivertest.Ends(t, `{"id":1,"op":"open","client":"a","credential":{"kind":"access-key"}}`)
}

func TestExchanges(t *testing.T) {
	const secret = `"credential":{"kind":"client-secret","client_id":"a","client_secret":"b"}`
	const issuer = `"entra":{"authority_host":"https://127.0.0.1:1","tenant_id":"t"}`
	drivertest.Exchanges(t, []drivertest.Exchange{
		{`"op":"no-such-op"`, "unsupported"},
		{`"op":"command","client":"a","args":["PING"]`, "closed"},
		{`"op":"command","client":"a","args":7`, "config"},
		{`"op":"open","client":"a","credential":{"kind":"no-such-kind"}`, "unsupported"},
		{`"op":"open","client":"a","entra":{"ca_pem":"none"},` + secret, "config"},
		{`"op":"open","client":"a",` + issuer + `,"credential":{"kind":"client-secret"}`, "config"},
		{`"op":"open","client":"a","cache":{"host":"down"},` + secret, "network"},
		{`"op":"open","client":"e",` + issuer + `,` + secret, ""},
		{`"op":"open","client":"a","credential":{"kind":"access-key"}`, ""},
		{`"op":"open","client":"a","credential":{"kind":"access-key"}`, "config"},
		{`"op":"command","client":"a","args":[]`, "config"},
		{`"op":"command","client":"a","args":["TOKEN"]`, "token"},
		{`"op":"command","client":"a","args":["PING"]`, ""},
		{`"op":"subscribe","client":"a","channels":[]`, "config"},
		{`"op":"exec","client":"a"`, "config"},
		{`"op":"begin","client":"a","commands":[["DENIED"]]`, "network"},
		{`"op":"exec","client":"a"`, "config"},
		{`"op":"begin","client":"a","commands":[["INCR","k"]],"watch":["k"]`, ""},
		{`"op":"exec","client":"a"`, ""},
		{`"op":"exec","client":"a"`, "config"},
		{`"op":"begin","client":"b","commands":[["INCR","k"]]`, "closed"},
		{`"op":"exec","client":"b"`, "closed"},
		{`"op":"open","client":"b","provider_of":"c"`, "closed"},
		{`"op":"open","client":"b","provider_of":"a","credential":{"kind":"access-key"}`, ""},
		{`"op":"begin","client":"a","commands":[["INCR","k"]]`, ""}, // is abandoned
		{`"op":"close","client":"a"`, ""},
		{`"op":"close","client":"a"`, "closed"},
	})
}

func TestACommandThatBlocksHoldsUpNobody(t *testing.T) {
	p := drivertest.Start(t)
	p.Ask(`{"id":1,"op":"open","client":"a","credential":{"kind":"access-key"}}`)
	if answer := p.Ask(`{"id":2,"op":"command","client":"a","args":["BLPOP"]}` + "\n" + `{"id":3,"op":"command","client":"a","args":["PING"]}`); answer.ID != 3 {
		t.Errorf("got %+v, want the answer to the second request", answer)
	}
}

func TestReplies(t *testing.T) {
	for _, test := range []struct {
		value any
		want  driver.Reply
	}{
		{nil, driver.Reply{Type: "null"}},
		{"a", driver.Reply{Type: "bulk", Value: "a"}},
		{int64(1), driver.Reply{Type: "integer", Value: int64(1)}},
		{true, driver.Reply{Type: "boolean", Value: true}},
		{1.5, driver.Reply{Type: "double", Value: 1.5}},
		{math.Inf(1), driver.Reply{Type: "double", Value: "inf"}},
		{math.NaN(), driver.Reply{Type: "double", Value: "nan"}},
		{errEcho, driver.Reply{Type: "error", Value: "the cache is down"}},
		{[]any{"a", int64(1)}, driver.Reply{Type: "array", Value: []driver.Reply{{Type: "bulk", Value: "a"}, {Type: "integer", Value: int64(1)}}}},
		{map[string]any{"a": true}, driver.Reply{Type: "map", Value: [][2]driver.Reply{{{Type: "bulk", Value: "a"}, {Type: "boolean", Value: true}}}}},
		{map[any]any{int64(1): "a"}, driver.Reply{Type: "map", Value: [][2]driver.Reply{{{Type: "integer", Value: int64(1)}, {Type: "bulk", Value: "a"}}}}},
	} {
		if got := driver.ReplyOf(test.value); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%v: got %+v, want %+v", test.value, got, test.want)
		}
	}
}
