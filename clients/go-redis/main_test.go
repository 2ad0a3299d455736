package main

import (
	"testing"

	"github.com/entracache/entracache/clients/go-driver/drivertest"
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
		{`"op":"command","client":"a","args":["PING"]`, "closed"},
		{`"op":"subscribe","client":"a","channels":["c"]`, "closed"},
		{`"op":"close","client":"a"`, "closed"},
		{`"op":"command","client":"a","args":7`, "config"},
		// A failed open has left no client behind, and open waits for no server.
		{`"op":"open","client":"a",` + cache + `,"credential":{"kind":"access-key","access_key":"k"}`, ""},
		{`"op":"open","client":"a",` + cache + `,"credential":{"kind":"access-key","access_key":"k"}`, "config"},
		{`"op":"command","client":"a","args":[]`, "config"},
		{`"op":"command","client":"a","args":["PING"]`, "network"},
		{`"op":"close","client":"a"`, ""},
		{`"op":"command","client":"a","args":["PING"]`, "closed"},
		{`"op":"close","client":"a"`, "closed"},
	})
}

func TestEnds(t *testing.T) {
	drivertest.Ends(t, `{"id":1,"op":"open","client":"a","cache":{"host":"127.0.0.1","port":1},"credential":{"kind":"access-key"}}`)
}
