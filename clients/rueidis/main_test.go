package main

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"

	driver "github.com/entracache/entracache/clients/go-driver"
	"github.com/entracache/entracache/clients/go-driver/drivertest"
	"github.com/redis/rueidis"
)

func TestMain(m *testing.M) { drivertest.Main(m, main) }

func TestHello(t *testing.T) { drivertest.Hello(t, library) }

func TestRefusals(t *testing.T) {
	const cache = `"cache":{"host":"127.0.0.1","port":1}`
	drivertest.Exchanges(t, []drivertest.Exchange{
		{`"op":"no-such-op"`, "unsupported"},
		{`"op":"open","client":"a",` + cache + `,"credential":{"kind":"no-such-kind"}`, "unsupported"},
		{`"op":"open","client":"a","cache":{"host":"127.0.0.1","port":1,"ca_pem":"none"},"credential":{"kind":"access-key"}`, "config"},
		{`"op":"open","client":"a",` + cache + `,"credential":{"kind":"client-secret"}`, "config"},
		// rueidis connects when its client is made; a failed open leaves no client behind.
		{`"op":"open","client":"a",` + cache + `,"credential":{"kind":"access-key","access_key":"k"}`, "network"},
		{`"op":"open","client":"a",` + cache + `,"credential":{"kind":"access-key","access_key":"k"}`, "network"},
		{`"op":"command","client":"a","args":["PING"]`, "closed"},
		{`"op":"subscribe","client":"a","channels":["c"]`, "closed"},
		{`"op":"close","client":"a"`, "closed"},
	})
}

func TestEnds(t *testing.T) { drivertest.Ends(t) }

func TestErrorKinds(t *testing.T) {
	for _, test := range []struct {
		err  error
		kind string
	}{
		{rueidis.ErrClosing, "closed"},
		{rueidis.ErrNoCache, "config"},
		{&driver.TokenError{Err: errors.New("AADSTS7000215")}, "token"},
		{os.ErrDeadlineExceeded, "timeout"},
		{io.EOF, "network"},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, "network"},
	} {
		if got := library.FailureOf(test.err); got.Kind != test.kind {
			t.Errorf("%v: got %+v, want kind %q", test.err, got, test.kind)
		}
	}
}

// What the cache answers is read by rueidis, so a cache has to say it.
func TestErrorsOfTheCache(t *testing.T) {
	for said, want := range map[string]driver.Failure{
		"-NOPERM this user has no permissions":                 {Kind: "redis", Code: "NOPERM"},
		"-ERR unknown command `CONFIG`":                        {Kind: "redis", Code: "ERR"},
		"-WRONGPASS invalid username-password pair":            {Kind: "auth", Code: "WRONGPASS"},
		"-ERR WRONGPASS invalid username-password pair":        {Kind: "auth", Code: "WRONGPASS"},
		"-NOAUTH Authentication required.":                     {Kind: "auth", Code: "NOAUTH"},
		"-LOADING Redis is loading the dataset in memory":      {Kind: "redis", Code: "LOADING"},
		"-WRONGTYPE Operation against a key holding the wrong": {Kind: "redis", Code: "WRONGTYPE"},
	} {
		cache := &drivertest.Cache{Answer: func(string) string { return said + "\r\n" }}
		client, err := connect(cache.Dial)
		if client != nil {
			defer client.Close()
		}
		if err == nil {
			t.Fatalf("%s: rueidis connected", said)
		}
		if got := library.FailureOf(err); got.Kind != want.Kind || got.Code != want.Code {
			t.Errorf("%s: got %+v, want %+v", said, got, want)
		}
	}
}

// connect makes a client of a cache that knows RESP2 only, and nobody who signs in.
func connect(dial func() net.Conn) (rueidis.Client, error) {
	return rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{"127.0.0.1:1"}, AlwaysRESP2: true, DisableCache: true, ForceSingleClient: true,
		DialFn: func(string, *net.Dialer, *tls.Config) (net.Conn, error) { return dial(), nil },
	})
}
