package protocol

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"

func openRequest() Request {
	return Open(Request{
		Client: "c-17", Scenario: "refresh.same-connection",
		Cache:      &Cache{Host: "127.0.0.1", Port: 43121, CAPEM: pem},
		Entra:      &Entra{Authority: "https://127.0.0.1:40443/t", AuthorityHost: "https://127.0.0.1:40443", TenantID: "t", CAPEM: pem},
		Credential: &Credential{Kind: CredentialClientSecret, ClientID: "id", ClientSecret: "s3cret-s3cret"},
		Scopes:     []string{"https://redis.azure.com/.default"},
		Options:    &Options{RESP: 3, PoolSize: 4, ConnectTimeoutMS: 5000, CommandTimeoutMS: 3000},
	})
}

func withID(r Request) Request { r.ID = 7; return r }

func TestEveryRequestSurvivesTheWire(t *testing.T) {
	accessKey := openRequest()
	accessKey.Entra, accessKey.Scopes = nil, nil
	accessKey.Credential = &Credential{Kind: CredentialAccessKey, AccessKey: "primary"}
	certificate, workload, managed := openRequest(), openRequest(), openRequest()
	certificate.Credential = &Credential{Kind: CredentialCertificate, ClientID: "app", CertificatePEM: "-----BEGIN CERTIFICATE-----\n"}
	workload.Credential = &Credential{Kind: CredentialWorkloadIdentity, ClientID: "app", TokenFile: "/token"}
	managed.Entra, managed.Credential = nil, &Credential{Kind: CredentialManagedIdentity}
	for _, request := range []Request{
		Hello("entracache 0.1.0"), openRequest(), accessKey, certificate, workload, managed, Command("c", "SET", "k", ""), Subscribe("c", "news"), Close("c"),
		Shutdown(), {Op: "x-4711", Client: "c"},
	} {
		t.Run(string(request.Op), func(t *testing.T) {
			line, err := Encode(withID(request))
			require.NoError(t, err)
			assert.Equal(t, 1, strings.Count(string(line), "\n"), "one line")
			back, err := ParseRequest(line)
			require.NoError(t, err)
			assert.Equal(t, withID(request), back)
		})
	}
}

func TestBadRequestsNameTheField(t *testing.T) {
	change := func(f func(*Request)) Request {
		r := withID(openRequest())
		f(&r)
		return r
	}
	for name, test := range map[string]struct {
		request Request
		field   string
	}{
		"no id":                    {Close("c"), "id"},
		"unknown op":               {withID(Request{Op: "opne"}), "op"},
		"no client":                {withID(Command("", "PING")), "client"},
		"no args":                  {withID(Command("c")), "args"},
		"port out of range":        {change(func(r *Request) { r.Cache.Port = 70000 }), "cache.port"},
		"CA is not a PEM":          {change(func(r *Request) { r.Entra.CAPEM = "MIIB" }), "entra.ca_pem"},
		"secret missing":           {change(func(r *Request) { r.Credential.ClientSecret = "" }), "credential.client_secret"},
		"certificate missing":      {change(func(r *Request) { r.Credential.Kind = CredentialCertificate }), "credential.certificate_pem"},
		"token file missing":       {change(func(r *Request) { r.Credential.Kind = CredentialWorkloadIdentity }), "credential.token_file"},
		"no resource":              {change(func(r *Request) { r.Credential.Kind, r.Scopes = CredentialManagedIdentity, nil }), "scopes"},
		"unknown credential":       {change(func(r *Request) { r.Credential.Kind = "certificat" }), "credential.kind"},
		"no issuer for a secret":   {change(func(r *Request) { r.Entra = nil }), "entra"},
		"resp 4":                   {change(func(r *Request) { r.Options.RESP = 4 }), "options.resp"},
		"authority without tenant": {change(func(r *Request) { r.Entra.Authority = "https://127.0.0.1:1" }), "entra.authority"},
		"no harness":               {withID(Request{Op: OpHello, Protocol: 1}), "harness"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Encode(test.request)
			var bad *LineError
			require.ErrorAs(t, err, &bad)
			assert.Equal(t, test.field, bad.Field, "%v", err)
			assert.NotContains(t, err.Error(), "s3cret-s3cret")
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

const helloReply = `{"id":1,"ok":true,"protocol":1,"driver":{"name":"d","language":"go","libraries":[{"name":"l","version":"v1"}],` +
	`"runtime":"go1.26","os":null,"homepage":"https://example.org"},"capabilities":["resp2","pubsub"],"limits":{"max_clients":64}}`

func reply(raw string, op Op) (Reply, error) {
	line, err := ParseLine([]byte(raw))
	if err != nil {
		return Reply{}, err
	}
	return line.Reply(op)
}

func TestRepliesAreReadAndUnknownMembersIgnored(t *testing.T) {
	hello, err := reply(helloReply, OpHello)
	require.NoError(t, err)
	assert.Equal(t, []Capability{CapRESP2, CapPubSub}, hello.Capabilities)
	assert.Equal(t, "v1", hello.Driver.Libraries[0].Version)
	assert.JSONEq(t, helloReply, string(hello.Raw), "the hello is kept as it came")

	value, err := reply(`{"id":9007199254740993,"ok":true,"reply":{"type":"integer","value":9007199254740993},"error":null}`, OpCommand)
	require.NoError(t, err)
	assert.Equal(t, int64(9007199254740993), value.ID)
	assert.Equal(t, int64(9007199254740993), value.Value.Int)

	failed, err := reply(`{"id":3,"ok":false,"error":{"kind":"redis","message":"NOPERM no","code":"NOPERM","exception":null}}`, OpCommand)
	require.NoError(t, err)
	assert.Equal(t, "redis: NOPERM no", failed.Error.Error())

	refused, err := reply(`{"id":1,"ok":false,"error":{"kind":"unsupported","message":"protocol 2"}}`, OpHello)
	require.NoError(t, err)
	assert.Equal(t, KindUnsupported, refused.Error.Kind)
}

func TestBadLinesFromADriverNameTheFieldAndShowTheBytes(t *testing.T) {
	for name, test := range map[string]struct {
		line  string
		op    Op
		field string
		says  string
	}{
		"text":                       {"Listening on 8080", OpClose, "", "not JSON"},
		"cut":                        {`{"id":1,"ok":tr`, OpClose, "", "not JSON"},
		"two objects":                {`{"id":1,"ok":true}{"id":2,"ok":true}`, OpClose, "", "more after the JSON object"},
		"stray bracket":              {`{"id":1,"ok":true}]`, OpClose, "", "more after the JSON object"},
		"list":                       {`[1]`, OpClose, "", "not an object"},
		"empty":                      {"  ", OpClose, "", "empty"},
		"not UTF-8":                  {"{\"id\":1,\"ok\":true,\"x\":\"\xff\"}", OpClose, "", "not UTF-8"},
		"neither reply nor event":    {`{"ok":true}`, OpClose, "", `neither "id"`},
		"null id":                    {`{"id":null,"ok":true}`, OpClose, "", `neither "id"`},
		"id 0":                       {`{"id":0,"ok":true}`, OpClose, "id", "1 or more"},
		"id as text":                 {`{"id":"1","ok":true}`, OpClose, "id", "1 or more"},
		"no ok":                      {`{"id":1}`, OpClose, "ok", "missing"},
		"failed without error":       {`{"id":1,"ok":false}`, OpClose, "error", "missing"},
		"null error":                 {`{"id":1,"ok":false,"error":null}`, OpClose, "error", "missing"},
		"unknown kind":               {`{"id":1,"ok":false,"error":{"kind":"oops","message":""}}`, OpClose, "error.kind", "one of"},
		"hello without driver":       {`{"id":1,"ok":true,"protocol":1,"capabilities":[]}`, OpHello, "driver", "missing"},
		"hello without version":      {strings.Replace(helloReply, `"v1"`, `""`, 1), OpHello, "driver.libraries[0].version", ""},
		"hello with protocol 2":      {strings.Replace(helloReply, `"protocol":1`, `"protocol":2`, 1), OpHello, "protocol", ""},
		"unknown capability":         {strings.Replace(helloReply, "pubsub", "pub-sub", 1), OpHello, "capabilities[1]", "one of"},
		"command without reply":      {`{"id":1,"ok":true}`, OpCommand, "reply", "missing"},
		"exec with one reply":        {`{"id":1,"ok":true,"reply":{"type":"integer","value":1}}`, OpExec, "reply.type", "one of"},
		"unknown type":               {`{"id":1,"ok":true,"reply":{"type":"text","value":"x"}}`, OpCommand, "reply.type", "one of"},
		"integer as text":            {`{"id":1,"ok":true,"reply":{"type":"integer","value":"1"}}`, OpCommand, "reply.value", "integer"},
		"bulk that is null":          {`{"id":1,"ok":true,"reply":{"type":"bulk","value":null}}`, OpCommand, "reply.value", "missing"},
		"double of an unknown word":  {`{"id":1,"ok":true,"reply":{"type":"double","value":"1.5"}}`, OpCommand, "reply.value", "one of"},
		"array of bare values":       {`{"id":1,"ok":true,"reply":{"type":"array","value":["a"]}}`, OpCommand, "reply.value[0]", "object"},
		"bad value deep in an array": {`{"id":1,"ok":true,"reply":{"type":"array","value":[{"type":"array","value":[{"type":"bulk"}]}]}}`, OpCommand, "reply.value[0].value[0].value", "missing"},
		"map of triples":             {`{"id":1,"ok":true,"reply":{"type":"map","value":[[{"type":"null"}]]}}`, OpCommand, "reply.value[0]", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := reply(test.line, test.op)
			var bad *LineError
			require.ErrorAs(t, err, &bad)
			assert.Equal(t, test.field, bad.Field, "%v", err)
			assert.Contains(t, err.Error(), test.says)
			assert.NotContains(t, err.Error(), "\n")
			assert.Contains(t, err.Error(), "the line: ")
		})
	}
}

func TestEvents(t *testing.T) {
	parse := func(raw string) (Event, error) {
		line, err := ParseLine([]byte(raw))
		if err != nil {
			return Event{}, err
		}
		require.True(t, line.IsEvent)
		return line.Event()
	}
	message, err := parse(`{"event":"message","client":"c","channel":"news","value":""}`)
	require.NoError(t, err)
	assert.Equal(t, Event{Kind: EventMessage, Client: "c", Channel: "news"}, message)
	token, err := parse(`{"event":"token","client":"c","what":"refresh-failed","error":{"kind":"token","message":"m"}}`)
	require.NoError(t, err)
	assert.Equal(t, KindToken, token.Error.Kind)

	for raw, field := range map[string]string{
		`{"event":"news","client":"c"}`:                  "event",
		`{"event":"message","channel":"n","value":""}`:   "client",
		`{"event":"message","client":"c","value":"x"}`:   "channel",
		`{"event":"token","client":"c","what":null}`:     "what",
		`{"event":"message","client":"c","channel":"n"}`: "value",
	} {
		_, err := parse(raw)
		var bad *LineError
		require.ErrorAs(t, err, &bad, raw)
		assert.Equal(t, field, bad.Field, raw)
	}
}

func TestEncodeForGoDrivers(t *testing.T) {
	value := Array(Bulk("a\xff"), Integer(-1), Null(), Value{Type: TypeMap, Pairs: [][2]Value{{Simple("k"), {Type: TypeDouble, Double: math.Inf(-1)}}}},
		Value{Type: TypeSet}, Value{Type: TypeBoolean})
	line, err := EncodeReply(OpCommand, Reply{ID: 3, OK: true, Value: &value})
	require.NoError(t, err)
	back, err := reply(string(line), OpCommand)
	require.NoError(t, err)
	assert.Equal(t, `["a�", -1, (nil), {"k": -Inf}, [], false]`, back.Value.String())

	_, err = EncodeReply(OpCommand, Reply{ID: 3, OK: true})
	assert.ErrorContains(t, err, "reply to command: reply: missing")
	_, err = EncodeReply(OpClose, Reply{ID: 3, Error: &Error{Kind: "oops"}})
	assert.ErrorContains(t, err, "error.kind")
	_, err = Encode(Event{Kind: EventMessage, Client: "c", Channel: "n"})
	require.ErrorContains(t, err, "value: missing", "an empty message must be sent as such")
	_, err = Encode(Reply{})
	assert.ErrorContains(t, err, "expected a Request or an Event")
}

func TestParseRequestKeepsTheIDOfABadRequest(t *testing.T) {
	request, err := ParseRequest([]byte(`{"id":12,"op":"dance"}`))
	require.Error(t, err)
	assert.Equal(t, int64(12), request.ID)
}

func TestValueEquality(t *testing.T) {
	set := func(items ...Value) Value { return Value{Type: TypeSet, Items: items} }
	for _, test := range []struct {
		a, b Value
		want bool
	}{
		{Simple("OK"), Bulk("OK"), true},
		{Bulk("1"), Integer(1), false},
		{Null(), Null(), true},
		{Value{Type: TypeError, Text: "ERR"}, Bulk("ERR"), false},
		{Array(Bulk("a"), Bulk("b")), Array(Bulk("b"), Bulk("a")), false},
		{set(Bulk("a"), Bulk("b")), set(Simple("b"), Bulk("a")), true},
		{set(Bulk("a"), Bulk("a")), set(Bulk("a"), Bulk("b")), false},
		{Value{Type: TypeDouble, Double: math.NaN()}, Value{Type: TypeDouble, Double: math.NaN()}, true},
		{Value{Type: TypeMap, Pairs: [][2]Value{{Bulk("a"), Integer(1)}}}, Value{Type: TypeMap, Pairs: [][2]Value{{Bulk("a"), Integer(2)}}}, false},
	} {
		assert.Equal(t, test.want, test.a.Equal(test.b), "%s = %s", test.a, test.b)
		assert.Equal(t, test.want, test.b.Equal(test.a), "%s = %s", test.b, test.a)
	}
	assert.Equal(t, "OK", Simple("OK").Plain())
	assert.Equal(t, `"OK"`, Simple("OK").String())
}

func TestNeeds(t *testing.T) {
	open := openRequest()
	open.Username = "me"
	open.Cache.Cluster = true
	assert.Equal(t, []Capability{CapClientSecret, CapCluster, CapUsername, CapRESP3}, open.Needs())
	open.Credential.Kind = CredentialManagedIdentity
	assert.Contains(t, open.Needs(), CapManagedIdentity)
	assert.Equal(t, []Capability{CapPubSub}, Subscribe("c", "x").Needs())
	assert.Empty(t, Command("c", "PING").Needs())
	open.ProviderOf = "other"
	assert.Contains(t, open.Needs(), CapShared)
	assert.Equal(t, []Capability{CapTransactions}, Begin("c", nil, []string{"PING"}).Needs())
	assert.Equal(t, []Capability{CapTransactions, CapWatch}, Begin("c", []string{"k"}, []string{"PING"}).Needs())
	assert.Equal(t, []Capability{CapTransactions}, Exec("c").Needs())
}

func TestRedaction(t *testing.T) {
	const token = "eyJhbGciOiJSUzI1NiJ9.eyJvaWQiOiIxIn0.c2lnbmF0dXJl-_x"
	for _, text := range []string{
		"AUTH me " + token,
		`{"args":["AUTH","me","` + token + `"]}`,
		"cut " + token[:30],
		`{"credential":{"client_secret":"hush\"hush","access_key":"hush=`,
		`"password" : "hush"`,
		`{"certificate_pem":"-----BEGIN PRIVATE KEY-----\nhush\n"}`,
	} {
		shown := Redact(text)
		assert.NotContains(t, shown, "eyJ", text)
		assert.NotContains(t, shown, "hush", text)
	}
	assert.Equal(t, "AUTH me "+Fingerprint(token), Redact("AUTH me "+token))
	assert.Regexp(t, `^jwt#[0-9a-f]{4}$`, Fingerprint(token))

	var r Redactor
	r.Add("correct horse", "abc")
	assert.Equal(t, "["+redacted+"] abc", r.Redact("[correct horse] abc"), "a word too short to be a secret stays")
}

func TestShow(t *testing.T) {
	assert.Equal(t, `a\tb\x1b[0m\xff é`, Show([]byte("a\tb\x1b[0m\xff é")))
	long := Show([]byte(strings.Repeat("é", 2000)))
	assert.Contains(t, long, "(4000 bytes in all)")
	assert.Less(t, len(long), 320)
	giant := Show([]byte(strings.Repeat("g", MaxLine+1)))
	assert.Contains(t, giant, "1048577 bytes in all")
	assert.Less(t, len(giant), 320)
}

func TestClosedListsAgreeWithTheSchemas(t *testing.T) {
	read := func(file string, path ...string) []string {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		var doc any
		require.NoError(t, json.Unmarshal(raw, &doc))
		for _, name := range path {
			doc = doc.(map[string]any)[name]
		}
		var words []string
		for _, word := range doc.([]any) {
			words = append(words, word.(string))
		}
		return words
	}
	var kinds, capabilities []string
	for _, kind := range ErrorKinds() {
		kinds = append(kinds, string(kind))
	}
	for _, capability := range Capabilities() {
		capabilities = append(capabilities, string(capability))
	}
	assert.Equal(t, kinds, read("common.schema.json", "$defs", "error", "properties", "kind", "enum"))
	assert.Equal(t, capabilities, read("reply.schema.json", "$defs", "hello", "then", "properties", "capabilities", "items", "enum"))
	files, err := filepath.Glob("*.schema.json")
	require.NoError(t, err)
	for _, file := range files {
		_, err := Schemas.ReadFile(file)
		assert.NoError(t, err)
	}
}

func FuzzLineFromDriver(f *testing.F) {
	for _, seed := range []string{helloReply, `{"id":1,"ok":true,"reply":{"type":"map","value":[[{"type":"null"},{"type":"double","value":"nan"}]]}}`,
		`{"event":"message","client":"c","channel":"n","value":"v"}`, `{"id":1e3,"ok":true}`, `{"id":1,"ok":true`, "\x00", `{"id":1,"ID":2,"ok":false,"OK":true}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		line, err := ParseLine(raw)
		if err == nil {
			if line.IsEvent {
				_, err = line.Event()
			} else {
				for _, op := range []Op{OpHello, OpCommand, OpClose} {
					var got Reply
					if got, err = line.Reply(op); err == nil {
						if got.ID != line.ID || !got.OK && got.Error == nil || op == OpCommand && got.OK && got.Value == nil {
							t.Fatalf("%q passed the schema but gave %+v", raw, got)
						}
					}
				}
			}
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\r") {
			t.Fatalf("an error of more than one line: %q", err)
		}
		var bad *LineError
		if err != nil && !errors.As(err, &bad) {
			t.Fatalf("not a LineError: %T %v", err, err)
		}
	})
}
