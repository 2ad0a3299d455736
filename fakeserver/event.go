package fakeserver

import (
	"time"

	"github.com/entracache/entracache/fakeserver/internal/token"
)

// EventKind says what happened.
type EventKind string

// The kinds of events. Those about one connection carry its number in Conn.
const (
	EventConnectionOpened   EventKind = "connection-opened" // after the TLS handshake
	EventTLSFailed          EventKind = "tls-failed"        // the handshake failed; Detail says how
	EventHello              EventKind = "hello"             // HELLO without AUTH
	EventAuth               EventKind = "auth"              // AUTH, and HELLO with AUTH
	EventCommand            EventKind = "command"           // any command; only with WithCommandEvents
	EventDenied             EventKind = "denied"            // refused by the access policy (NOPERM)
	EventBlocked            EventKind = "blocked"           // a command that the service blocks
	EventProtocolError      EventKind = "protocol-error"
	EventSubscribed         EventKind = "subscribed" // Detail names the channel or pattern
	EventConnectionClosed   EventKind = "connection-closed"
	EventAccessKeysDisabled EventKind = "access-keys-disabled"
	EventAccessKeysEnabled  EventKind = "access-keys-enabled"
	EventKeyRegenerated     EventKind = "key-regenerated"
	EventPolicyAssigned     EventKind = "policy-assigned"
	EventPolicyRemoved      EventKind = "policy-removed"
	EventPolicyDefined      EventKind = "policy-defined"   // AddPolicy and UpdatePolicy
	EventPolicyUndefined    EventKind = "policy-undefined" // RemovePolicy
	EventRebooted           EventKind = "rebooted"
	EventNodeDown           EventKind = "node-down"             // Node accepts no connection; Detail tells for how long
	EventNodeUp             EventKind = "node-up"               // Node accepts connections again
	EventNodeLoaded         EventKind = "node-loaded"           // Node answers LOADING no more
	EventFailoverStarted    EventKind = "failover-started"      // from Node
	EventFailoverComplete   EventKind = "failover-complete"     // to Node
	EventDataLost           EventKind = "data-lost"             // a shard lost what it held
	EventMaintenance        EventKind = "maintenance-announced" // Detail is what was published on AzureRedisEvents
	EventPatched            EventKind = "patched"               // the end of Patch
	EventScaled             EventKind = "scaled"
	EventSlotMigrating      EventKind = "slot-migrating"
	EventSlotMigrated       EventKind = "slot-migrated"
	EventFault              EventKind = "fault" // a fault that was set fired; Detail names it
	EventReset              EventKind = "reset" // see Server.Reset
	EventGap                EventKind = "gap"   // the events up to and including this Seq are no longer kept; see WithEventLimit
	EventEntraEnabled       EventKind = "entra-enabled"
	EventEntraDisabled      EventKind = "entra-disabled"
	EventProvisioningState  EventKind = "provisioning-state" // Detail is a ProvisioningState
	EventGeoLinked          EventKind = "geo-linked"
	EventGeoUnlinked        EventKind = "geo-unlinked"
	EventMinimumTLSVersion  EventKind = "minimum-tls-version" // SetMinimumTLSVersion
	EventConnectionRejected EventKind = "connection-rejected" // too many clients; there was no connection
)

// Outcome of a hello, auth or command event.
type Outcome string

// The outcomes.
const (
	OutcomeOK      Outcome = "ok"
	OutcomeRefused Outcome = "refused"
)

// Reason says why a sign-in was refused or a connection closed.
type Reason string

// Why a sign-in was refused. The client sees the same text for all of them.
const (
	ReasonBadAccessKey        Reason = "bad-access-key"
	ReasonAccessKeysDisabled  Reason = "access-keys-disabled"
	ReasonEntraNotConfigured  Reason = "entra-not-configured" // the server was started without an issuer
	ReasonUnknownUser         Reason = "unknown-user"         // neither "default" nor a token in the password; in open-source Redis, no such user
	ReasonUserOff             Reason = "user-off"             // open-source Redis: ACL SETUSER … off
	ReasonBadPassword         Reason = "bad-password"         // open-source Redis: none of the user's passwords
	ReasonEntraDisabled       Reason = "entra-disabled"       // DisableEntra, WithEntraDisabled, or a tier without it
	ReasonOtherIdentity       Reason = "other-identity"       // WithOneIdentityPerConnection
	ReasonTokenOnPlainPort    Reason = "token-on-plain-port"
	ReasonTokenOnOldTLS       Reason = "token-on-old-tls" // TLS 1.0 or 1.1
	ReasonNotAssigned         Reason = "not-assigned"     // a good token, but no access policy for its object ID
	ReasonMalformedToken      Reason = Reason(token.Malformed)
	ReasonBadAlgorithm        Reason = Reason(token.BadAlgorithm)
	ReasonIssuerUnreachable   Reason = Reason(token.IssuerUnreachable)
	ReasonUnknownKey          Reason = Reason(token.UnknownKey)
	ReasonBadSignature        Reason = Reason(token.BadSignature)
	ReasonWrongTenant         Reason = Reason(token.WrongTenant)
	ReasonWrongIssuer         Reason = Reason(token.WrongIssuer)
	ReasonWrongAudience       Reason = Reason(token.WrongAudience)
	ReasonNotYetValid         Reason = Reason(token.NotYetValid)
	ReasonTokenExpired        Reason = Reason(token.Expired) // also why a connection was closed
	ReasonNoObjectID          Reason = Reason(token.NoObjectID)
	ReasonUsernameMismatch    Reason = Reason(token.UsernameMismatch)
	ReasonNotAuthenticated    Reason = "not-authenticated"    // HELLO without AUTH before signing in
	ReasonUnsupportedProtocol Reason = "unsupported-protocol" // HELLO with a version other than 2 and 3
	ReasonSyntax              Reason = "syntax-error"         // an AUTH or HELLO that is no sign-in at all
)

// Why a connection was closed.
const (
	ReasonClientClosed      Reason = "client-closed"
	ReasonQuit              Reason = "quit"
	ReasonAccessKeysChanged Reason = "access-keys-changed"
	ReasonRebooted          Reason = "rebooted"
	ReasonEntraChanged      Reason = "entra-changed" // EnableEntra and DisableEntra reboot the nodes
	ReasonKeyRegenerated    Reason = "key-regenerated"
	ReasonPolicyChanged     Reason = "policy-changed"
	ReasonIdle              Reason = "idle"
	ReasonMaxClients        Reason = "max-clients" // of a rejected connection
	ReasonFailover          Reason = "failover"
	ReasonPatched           Reason = "patched"
	ReasonScaled            Reason = "scaled" // the node is not part of the cache any more
	ReasonProtocolError     Reason = "protocol-error"
	ReasonServerClosed      Reason = "server-closed"
	ReasonUnassigned        Reason = "unassigned"
	ReasonKilled            Reason = "killed" // CLIENT KILL
	ReasonSlowSubscriber    Reason = "slow-subscriber"
	ReasonFault             Reason = "fault" // see AddFault
	ReasonReset             Reason = "reset" // Server.Reset
	ReasonPanic             Reason = "panic" // a fault of the fake itself; please report it
)

// TokenInfo describes a token without giving it away. The claims are what the
// token says; of a refused token they need not be true.
type TokenInfo struct {
	Fingerprint string // "jwt#" and the first 4 hex digits of the token's SHA-256
	ID          string // uti: joins this log with the issuer's
	ObjectID    string
	TenantID    string
	Audience    string
	IssuedAt    time.Time
	Expires     time.Time
}

// Event is one entry of the log. Fields that do not apply are zero.
type Event struct {
	Seq        int64 // 1, 2, 3 …
	Time       time.Time
	Kind       EventKind
	Conn       int64  // number of the connection, 0 for the whole server
	Node       string // name of the node that the event, or the connection, is about; empty for connections of a cache that has just one
	TLSVersion string // "TLS 1.3"; empty on the plain port
	Command    string // lower case; with its subcommand as in "client|setname" where it has one
	User       string // as whom; for auth events, the user name that was tried
	Outcome    Outcome
	Reason     Reason
	Token      *TokenInfo
	// Lead is, when a token replaces another on the same connection, the time
	// that the old one still had.
	Lead time.Duration
	// Proto is the RESP version that is in force after the event.
	Proto int
	// Detail is one sentence for people. For a refusal it ends with the error
	// that the client got.
	Detail string
}
