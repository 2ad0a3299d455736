package protocol

import (
	"encoding/json"
	"fmt"
)

// Version is the number that both sides must say in hello. Adding members, ops or capabilities does not raise it; taking
// something away does.
const Version = 1

// MaxLine is the greatest length of a line in bytes, its newline not counted.
const MaxLine = 1 << 20

// Op names what a request asks for.
type Op string

// The ops of protocol 1. A driver answers any other with [KindUnsupported].
const (
	OpHello     Op = "hello"
	OpOpen      Op = "open"
	OpCommand   Op = "command"
	OpSubscribe Op = "subscribe"
	OpBegin     Op = "begin"
	OpExec      Op = "exec"
	OpClose     Op = "close"
	OpShutdown  Op = "shutdown"
)

// ErrorKind says what sort of failure a driver reports. The list is closed.
type ErrorKind string

// The kinds of failure. The first seven are outcomes under test. KindUnsupported for something that the driver declared,
// and any KindInternal, are faults of the driver and never of the library.
const (
	KindRedis       ErrorKind = "redis"       // the server answered with an error
	KindAuth        ErrorKind = "auth"        // the library's authentication error, or WRONGPASS or NOAUTH said by the server
	KindToken       ErrorKind = "token"       // no token could be got
	KindNetwork     ErrorKind = "network"     // connection refused, reset, closed; TLS handshake
	KindTimeout     ErrorKind = "timeout"     // the library gave up waiting
	KindConfig      ErrorKind = "config"      // the library refused its configuration
	KindClosed      ErrorKind = "closed"      // no such client, or it was closed
	KindUnsupported ErrorKind = "unsupported" // the driver does not know the op, credential or option
	KindInternal    ErrorKind = "internal"    // a bug in the driver itself
)

// ErrorKinds is the closed list in the order of their declaration.
func ErrorKinds() []ErrorKind {
	return []ErrorKind{KindRedis, KindAuth, KindToken, KindNetwork, KindTimeout, KindConfig, KindClosed, KindUnsupported, KindInternal}
}

// Capability is a behaviour that a driver declares in its hello; scenarios that need one it lacks are skipped by name.
type Capability string

// The capabilities of protocol 1, as area:thing or one word.
const (
	CapClientSecret Capability = "credential:client-secret" // signs in to the issuer with a client secret
	CapAccessKey    Capability = "credential:access-key"    // signs in to the cache with an access key
	// signs in as a managed identity; how this machine hands out its tokens is in the process's environment
	CapManagedIdentity  Capability = "credential:managed-identity"
	CapCertificate      Capability = "credential:certificate"       // signs in to the issuer with a certificate
	CapWorkloadIdentity Capability = "credential:workload-identity" // signs in to the issuer with the token of another one, from a file
	CapUsername         Capability = "credential:username"          // the application may set the user name by hand
	CapRESP2            Capability = "resp2"
	CapRESP3            Capability = "resp3"
	CapPubSub           Capability = "pubsub"
	CapPool             Capability = "pool"     // opens up to pool_size connections under concurrent blocking commands
	CapBlocking         Capability = "blocking" // blocking commands such as BLPOP
	CapEvents           Capability = "events"   // passes on what the library tells its user about tokens
	CapCustomCA         Capability = "tls:custom-ca"
	CapCluster          Capability = "cluster"            // speaks to the nodes of a clustered cache
	CapTransactions     Capability = "transactions"       // MULTI and EXEC
	CapWatch            Capability = "transactions:watch" // and WATCH before them
	CapShared           Capability = "shared-provider"    // clients of one application can share what gets their tokens
)

// Capabilities is the closed list in the order of their declaration.
func Capabilities() []Capability {
	return []Capability{CapClientSecret, CapAccessKey, CapManagedIdentity, CapCertificate, CapWorkloadIdentity, CapUsername, CapRESP2, CapRESP3,
		CapPubSub, CapPool, CapBlocking, CapEvents, CapCustomCA, CapCluster, CapTransactions, CapWatch, CapShared}
}

// CredentialKind says how a client signs in.
type CredentialKind string

// The kinds of credential.
const (
	CredentialClientSecret CredentialKind = "client-secret"
	CredentialAccessKey    CredentialKind = "access-key"
	// CredentialManagedIdentity is the system-assigned identity of the machine, or with a client ID a user-assigned one. Where tokens are
	// had is in the environment of the driver's process.
	CredentialManagedIdentity  CredentialKind = "managed-identity"
	CredentialCertificate      CredentialKind = "certificate"
	CredentialWorkloadIdentity CredentialKind = "workload-identity"
)

// Capability is the one that a driver must declare to be given this kind of credential.
func (k CredentialKind) Capability() Capability { return Capability("credential:" + string(k)) }

// Request is one line from the harness to a driver. Which members belong to which op is in request.schema.json; use the
// constructors ([Hello], [Open], [Command], [Subscribe], [Begin], [Exec], [Close], [Shutdown]) to get the right ones.
type Request struct {
	ID int64 `json:"id"`
	Op Op    `json:"op"`

	Protocol int    `json:"protocol,omitempty"` // hello
	Harness  string `json:"harness,omitempty"`  // hello: name and version of the harness

	Client string `json:"client,omitempty"` // all but hello and shutdown: the harness's name for the client object

	Scenario   string      `json:"scenario,omitempty"` // open: for the driver's own logs; a driver never branches on it
	Cache      *Cache      `json:"cache,omitempty"`
	Entra      *Entra      `json:"entra,omitempty"`
	Credential *Credential `json:"credential,omitempty"`
	Username   string      `json:"username,omitempty"` // open: the user name that the application configured by hand
	Scopes     []string    `json:"scopes,omitempty"`
	Options    *Options    `json:"options,omitempty"`
	// ProviderOf, in open, names an open client whose credential provider this one shares; its credential is the same.
	ProviderOf string `json:"provider_of,omitempty"`

	Args     []string `json:"args,omitempty"`     // command
	Channels []string `json:"channels,omitempty"` // subscribe

	Watch    []string   `json:"watch,omitempty"`    // begin: the keys to be watched
	Commands [][]string `json:"commands,omitempty"` // begin: the commands of the transaction
}

// Cache says where the cache is.
type Cache struct {
	Host  string `json:"host"`
	Port  int    `json:"port"`
	CAPEM string `json:"ca_pem,omitempty"`
	// Cluster says that the cache is clustered: the address leads to one of its nodes, which tells where the others are.
	Cluster bool `json:"cluster,omitempty"`
}

// Entra says where the token issuer is.
type Entra struct {
	Authority     string `json:"authority"`
	AuthorityHost string `json:"authority_host"`
	TenantID      string `json:"tenant_id"`
	CAPEM         string `json:"ca_pem,omitempty"`
}

// Credential is what a client signs in with.
type Credential struct {
	Kind         CredentialKind `json:"kind"`
	ClientID     string         `json:"client_id,omitempty"`
	ClientSecret string         `json:"client_secret,omitempty"`
	AccessKey    string         `json:"access_key,omitempty"`
	// CertificatePEM is the certificate and its private key, which is in PKCS #8.
	CertificatePEM string `json:"certificate_pem,omitempty"`
	// TokenFile holds the token of another issuer, to sign in with.
	TokenFile string `json:"token_file,omitempty"`
}

// Options are the settings of the client object. A zero value means the library's own default.
type Options struct {
	RESP             int `json:"resp,omitempty"` // 2 or 3
	PoolSize         int `json:"pool_size,omitempty"`
	ConnectTimeoutMS int `json:"connect_timeout_ms,omitempty"`
	CommandTimeoutMS int `json:"command_timeout_ms,omitempty"`
	// ClockRate is how many times faster than real time the driver's process sees time pass; left out: it does not. The network is
	// not faster, so that a driver multiplies by it what bounds an exchange on the network in the library and is not in these options.
	ClockRate int `json:"clock_rate,omitempty"`
}

// Hello opens the conversation. The harness is a name and a version, such as "entracache 0.1.0".
func Hello(harness string) Request {
	return Request{Op: OpHello, Protocol: Version, Harness: harness}
}

// Open asks for a client object. r carries the members of an open request; its Op is set here.
func Open(r Request) Request {
	r.Op = OpOpen
	return r
}

// Command runs one Redis command on a client.
func Command(client string, args ...string) Request {
	return Request{Op: OpCommand, Client: client, Args: args}
}

// Subscribe subscribes a client to channels.
func Subscribe(client string, channels ...string) Request {
	return Request{Op: OpSubscribe, Client: client, Channels: channels}
}

// Begin begins a transaction of commands that is to be ended by [Exec]; a client has one at a time. The keys of watch may be none.
func Begin(client string, watch []string, commands ...[]string) Request {
	return Request{Op: OpBegin, Client: client, Watch: watch, Commands: commands}
}

// Exec runs the transaction that was begun.
func Exec(client string) Request { return Request{Op: OpExec, Client: client} }

// Close closes a client, and its credential provider unless another client shares that.
func Close(client string) Request { return Request{Op: OpClose, Client: client} }

// Shutdown ends the driver.
func Shutdown() Request { return Request{Op: OpShutdown} }

// Needs are the capabilities that a driver must have declared before it may be sent this request. A driver that declared
// them all and still answers [KindUnsupported] is at fault.
func (r Request) Needs() []Capability {
	var needs []Capability
	switch r.Op {
	case OpOpen:
		if r.Credential != nil {
			needs = append(needs, r.Credential.Kind.Capability())
		}
		if r.Cache != nil && r.Cache.Cluster {
			needs = append(needs, CapCluster)
		}
		if r.Username != "" {
			needs = append(needs, CapUsername)
		}
		if r.Options != nil && r.Options.RESP != 0 {
			needs = append(needs, Capability(fmt.Sprintf("resp%d", r.Options.RESP)))
		}
		if r.ProviderOf != "" {
			needs = append(needs, CapShared)
		}
	case OpSubscribe:
		needs = append(needs, CapPubSub)
	case OpBegin:
		needs = append(needs, CapTransactions)
		if len(r.Watch) > 0 {
			needs = append(needs, CapWatch)
		}
	case OpExec:
		needs = append(needs, CapTransactions)
	}
	return needs
}

// Secrets are the values in the request that must never be shown.
func (r Request) Secrets() []string {
	if r.Credential == nil {
		return nil
	}
	var secrets []string
	for _, s := range []string{r.Credential.ClientSecret, r.Credential.AccessKey, r.Credential.CertificatePEM} {
		if s != "" {
			secrets = append(secrets, s)
		}
	}
	return secrets
}

// Reply is the driver's one answer to a request. If OK is false, Error says why.
type Reply struct {
	ID    int64  `json:"id"`
	OK    bool   `json:"ok"`
	Error *Error `json:"error,omitempty"`

	Value *Value `json:"reply,omitempty"` // command, exec: what the server answered, as the library hands it to its user

	Protocol     int          `json:"protocol,omitempty"` // hello
	Driver       *DriverInfo  `json:"driver,omitempty"`
	Capabilities []Capability `json:"capabilities,omitempty"`
	Limits       *Limits      `json:"limits,omitempty"`

	Raw json.RawMessage `json:"-"` // the line as it came, set by Line.Reply
}

// DriverInfo is a driver's account of itself. Versions are read at run time from what is installed.
type DriverInfo struct {
	Name      string    `json:"name"`
	Language  string    `json:"language"`
	Libraries []Library `json:"libraries"` // the first is the client library under test
	Runtime   string    `json:"runtime"`
	OS        string    `json:"os,omitempty"`
}

// Limits tell the harness how fast time may pass for this driver.
type Limits struct {
	// MinTokenLifetimeMS is the shortest life of a token, on the wall clock, at which the library behaves as it does with a token of
	// an hour. A library that renews two minutes before expiry, come what may, needs well over two minutes. 0 means any.
	MinTokenLifetimeMS int `json:"min_token_lifetime_ms,omitempty"`
	// RecoveryMS is the longest, on the wall clock, that the library takes by its own fixed timers to notice that a connection is dead and
	// to replace it. A step that gives a client some minutes to come back gives it so long at least, but never more than those minutes. 0
	// means that it has no such timers.
	RecoveryMS int `json:"recovery_ms,omitempty"`
}

// Library is a package that the driver uses.
type Library struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Error is a failure as the library's user sees it.
type Error struct {
	Kind      ErrorKind `json:"kind"`
	Message   string    `json:"message"`             // the library's text
	Code      string    `json:"code,omitempty"`      // the first word of a server error
	Exception string    `json:"exception,omitempty"` // the type's name in the driver's language
}

// Error renders the failure on one line.
func (e *Error) Error() string {
	text := string(e.Kind) + ": " + e.Message
	if e.Exception != "" {
		text += " (" + e.Exception + ")"
	}
	return text
}

// EventKind names what an event tells.
type EventKind string

// The kinds of event.
const (
	EventMessage EventKind = "message" // a published message arrived
	EventToken   EventKind = "token"   // the library told its user something about its token
)

// Event is a line that a driver sends unasked.
type Event struct {
	Kind    EventKind `json:"event"`
	Client  string    `json:"client"`
	Channel string    `json:"channel,omitempty"` // message
	Value   string    `json:"value,omitempty"`   // message
	What    string    `json:"what,omitempty"`    // token: refresh-failed, reauth-failed, …
	Error   *Error    `json:"error,omitempty"`   // token
}
