package mutant

// Bug is a deliberate fault of the reference client.
type Bug string

// Mutant is the reference client with one bug.
type Mutant struct {
	Bug Bug
	// Story says what the bug would be in a real library.
	Story string
	// FailedBy are the scenarios that must notice it.
	FailedBy []string
	// Passes is a scenario that the mutant passes all the same, so that it is known to be ill and not dead.
	Passes string
}

// The bugs.
const (
	None                     Bug = ""
	NeverRefreshes           Bug = "never-refreshes"
	RefreshesTooLate         Bug = "refreshes-too-late"
	StopsAfterFirstRefresh   Bug = "stops-after-first-refresh"
	SkipsIdleConnections     Bug = "skips-idle-connections"
	SkipsSubscribers         Bug = "skips-subscribers"
	SkipsLaterConnections    Bug = "skips-later-connections"
	ReusesFirstToken         Bug = "reuses-first-token"
	TokenPerCommand          Bug = "token-per-command"
	GivesUpAfterOneFailure   Bug = "gives-up-after-one-failure"
	GivesUpWhenRefused       Bug = "gives-up-when-refused"
	NeverReconnects          Bug = "never-reconnects"
	NeverResubscribes        Bug = "never-resubscribes"
	DropsMessages            Bug = "drops-messages"
	SendsClientID            Bug = "sends-client-id"
	CorrectsUsername         Bug = "corrects-username"
	SendsSecretAsPassword    Bug = "sends-secret-as-password"
	AsksForResource          Bug = "asks-for-resource"
	OffersOldTLS             Bug = "offers-old-tls"
	SkipsTLSVerification     Bug = "skips-tls-verification"
	SkipsHostVerification    Bug = "skips-host-verification"
	AlwaysRESP2              Bug = "always-resp2"
	AlwaysRESP3              Bug = "always-resp3"
	IgnoresCommandErrors     Bug = "ignores-command-errors"
	IgnoresSignInErrors      Bug = "ignores-sign-in-errors"
	PretendsToBeConnected    Bug = "pretends-to-be-connected"
	RepeatsRefusedAuth       Bug = "repeats-refused-auth"
	InsistsOnInfo            Bug = "insists-on-info"
	InsistsOnConfig          Bug = "insists-on-config"
	SendsAccessKeyAsUser     Bug = "sends-access-key-as-user"
	LosesConnectionOnDenial  Bug = "loses-connection-on-denial"
	DiesWhenClosedEarly      Bug = "dies-when-closed-early"
	BreaksWhenRefusedAgain   Bug = "breaks-when-refused-again"
	WaitsForEver             Bug = "waits-for-ever"
	KeepsAfterTimeout        Bug = "keeps-after-timeout"
	KnowsOneWording          Bug = "knows-one-wording"
	KeepsReadOnly            Bug = "keeps-read-only"
	BreaksWhileLoading       Bug = "breaks-while-loading"
	SignsInAtSeedOnly        Bug = "signs-in-at-seed-only"
	RenewsSeedOnly           Bug = "renews-seed-only"
	NeverFollowsMoved        Bug = "never-follows-moved"
	ForgetsAsking            Bug = "forgets-asking"
	NeverRereadsSlots        Bug = "never-rereads-slots"
	VerifiesAddresses        Bug = "verifies-addresses"
	ForgetsTransactions      Bug = "forgets-transactions"
	ResendsQueued            Bug = "resends-queued"
	RenewsInsideTransactions Bug = "renews-inside-transactions"
	MovesTransactions        Bug = "moves-transactions"
	RetriesTransactions      Bug = "retries-transactions"
	SkipsBusyConnections     Bug = "skips-busy-connections"
	LosesBlockedCaller       Bug = "loses-blocked-caller"
	KnowsOneListener         Bug = "knows-one-listener"
	ClosesSharedProvider     Bug = "closes-shared-provider"
	SkipsEarlierSubscribers  Bug = "skips-earlier-subscribers"
	AddsListeners            Bug = "adds-listeners"
	LeaksConnections         Bug = "leaks-connections"
	KeepsRenewing            Bug = "keeps-renewing"
	StormsWhenRefused        Bug = "storms-when-refused"
	AcknowledgesLost         Bug = "acknowledges-lost"
	RetriesBlindly           Bug = "retries-blindly"
	BreaksWhenRenewalDies    Bug = "breaks-when-renewal-dies"

	GivesUpOnServerError    Bug = "gives-up-on-server-error"
	WaitsAHundredTimes      Bug = "waits-a-hundred-times"
	TakesResetForTheEnd     Bug = "takes-reset-for-the-end"
	StopsAfterThreeFailures Bug = "stops-after-three-failures"
	GivesUpAfterASecond     Bug = "gives-up-after-a-second"
	StuckAfterTimeout       Bug = "stuck-after-timeout"
	TakesRefusalForFinal    Bug = "takes-refusal-for-final"
	HammersTheIssuer        Bug = "hammers-the-issuer"
	GivesUpAtStart          Bug = "gives-up-at-start"
	TellsOneCaller          Bug = "tells-one-caller"
	GoesByExpiresIn         Bug = "goes-by-expires-in"
	MistrustsTheAnswer      Bug = "mistrusts-the-answer"
	ReadsMilliseconds       Bug = "reads-milliseconds"
	AlwaysWithinMargin      Bug = "always-within-margin"
	CountsFromIssue         Bug = "counts-from-issue"
	CutsLongPasswords       Bug = "cuts-long-passwords"
	ScansForObjectID        Bug = "scans-for-object-id"
	ReadsPlainBase64        Bug = "reads-plain-base64"
	InsistsOnVersion1       Bug = "insists-on-version-1"
	RepeatsWithoutPause     Bug = "repeats-without-pause"
	NamesNoCertificate      Bug = "names-no-certificate"
	SendsFileName           Bug = "sends-file-name"
	AsksForScopeAsResource  Bug = "asks-for-scope-as-resource"
	AsksForOwnIdentity      Bug = "asks-for-own-identity"
	GivesUpOnMachine        Bug = "gives-up-on-machine"

	// These are not among [Mutants], for what notices them is played in the virtual lane only.
	CountsFailuresForEver Bug = "counts-failures-for-ever"
	LoopsOnSameToken      Bug = "loops-on-same-token"
	ReadsFileOnce         Bug = "reads-file-once"

	// TwoMinutesBefore is not one of [Mutants], for the scaled lane cannot tell: a token that lives for ten seconds is always two
	// minutes before its end, and renewed without pause. In the virtual lane it is renewed at the fifty-eighth minute.
	TwoMinutesBefore Bug = "two-minutes-before"
	// NeverStaggers is not one of them either: staggering is looked at in the virtual lane only.
	NeverStaggers Bug = "never-staggers"
	// LeaksAtRenewal is not either: after how many renewals it shows is looked at in the virtual lane only.
	LeaksAtRenewal Bug = "leaks-at-renewal"
)

// Mutants are all of them.
func Mutants() []Mutant {
	return []Mutant{
		{NeverRefreshes, "the token is fetched once, when the client is made",
			[]string{"refresh.same-connection", "refresh.three-minutes-before", "refresh.idle-pool", "refresh.again-and-again", "refresh.new-connection-new-token", "pubsub.resp3-survives", "reconnect.fresh-token", "reconnect.renewed-again", "outage.one-error", "outage.recovers"}, "signin.object-id"},
		{RefreshesTooLate, "the refresh is due when the token is about to expire",
			[]string{"refresh.three-minutes-before", "refresh.idle-pool"}, "signin.scope"},
		{StopsAfterFirstRefresh, "the timer is not set again after the first refresh",
			[]string{"refresh.again-and-again", "cluster.three-tokens"}, "refresh.same-connection"},
		{SkipsIdleConnections, "only the connection that is used next is renewed",
			[]string{"refresh.three-minutes-before", "refresh.idle-pool"}, "refresh.same-connection"},
		{SkipsSubscribers, "the subscriber's connection is forgotten at renewal",
			[]string{"pubsub.resp3-survives"}, "refresh.same-connection"},
		{SkipsLaterConnections, "only the connections that were open when the client was made are renewed",
			[]string{"reconnect.renewed-again", "failover.unplanned"}, "refresh.same-connection"},
		{ReusesFirstToken, "new connections sign in with the token that was put into the options at the start",
			[]string{"refresh.new-connection-new-token", "reconnect.fresh-token", "outage.recovers", "pubsub.resp2-comes-back", "cluster.fresh-token"}, "refresh.same-connection"},
		{TokenPerCommand, "the issuer is asked before every command",
			[]string{"refresh.token-requests-bounded"}, "policy.reader-reads"},
		{GivesUpAfterOneFailure, "the first failed token request ends the renewal",
			[]string{"outage.one-error", "outage.recovers", "issuer.error", "issuer.reset", "issuer.short-outage", "issuer.hangs", "issuer.secret-expired"}, "refresh.again-and-again"},
		{GivesUpWhenRefused, "after one WRONGPASS the client never tries again",
			[]string{"refused.comes-in-later", "policy.removed"}, "refused.unassigned"},
		{NeverReconnects, "a closed connection stays closed",
			[]string{"reconnect.after-reboot", "reconnect.fresh-token", "reconnect.renewed-again", "keys.entra-client-comes-back", "keys.changed-twice", "policy.removed", "reconnect.after-outage", "limits.idle", "keys.entra-enabled", "failover.planned", "failover.unplanned", "maintenance.survived", "maintenance.subscribes-again", "cluster.failover"}, "refresh.same-connection"},
		{NeverResubscribes, "the subscriber reconnects without subscribing again",
			[]string{"pubsub.resp2-comes-back", "maintenance.subscribes-again", "cluster.subscriber"}, "pubsub.resp3-survives"},
		{DropsMessages, "messages do not reach the application",
			[]string{"pubsub.delivers", "pubsub.resp3-survives", "pubsub.resp2-comes-back", "maintenance.announced"}, "signin.object-id"},
		{SendsClientID, "the user name is the client ID, the classic mistake",
			[]string{"signin.object-id", "signin.resp2", "signin.resp3", "policy.contributor-reads-and-writes"}, "refused.client-id"},
		{CorrectsUsername, "the configured user name is replaced behind the application's back",
			[]string{"refused.client-id"}, "signin.object-id"},
		{SendsSecretAsPassword, "the client secret is sent to the cache",
			[]string{"signin.token-is-the-password"}, "signin.verifies-certificate"},
		{AsksForResource, "the old endpoint is asked for a resource instead of a scope",
			[]string{"signin.scope"}, "signin.object-id"},
		{OffersOldTLS, "TLS 1.1 at most",
			[]string{"signin.tls"}, "signin.verifies-certificate"},
		{SkipsTLSVerification, "any certificate is good",
			[]string{"signin.verifies-certificate", "signin.verifies-host"}, "signin.tls"},
		{SkipsHostVerification, "a certificate of a trusted authority is good, whoever it is for",
			[]string{"signin.verifies-host"}, "signin.verifies-certificate"},
		{AlwaysRESP2, "the protocol option is ignored", []string{"signin.resp3"}, "signin.resp2"},
		{AlwaysRESP3, "the protocol option is ignored", []string{"signin.resp2"}, "signin.resp3"},
		{IgnoresCommandErrors, "an error reply is handed out as a success",
			[]string{"policy.contributor-denied", "policy.reader-denied", "policy.blocked-command", "policy.custom-keys", "policy.changed-while-connected"}, "policy.reader-reads"},
		{IgnoresSignInErrors, "a refused sign-in is not noticed and replies are made up",
			[]string{"refused.wrong-audience", "refused.foreign-tenant", "refused.unassigned", "refused.expired-token", "refused.client-id", "refused.once-per-connection", "refused.comes-in-later", "keys.key-refused-after",
				"tokens.refused-not-yet-valid", "tokens.refused-wrong-issuer", "tokens.refused-wrong-tenant", "tokens.refused-no-tenant", "tokens.refused-wrong-object-id", "tokens.refused-no-object-id", "tokens.refused-no-expiry", "tokens.refused-alg-none", "tokens.refused-alg-hmac", "tokens.refused-wrong-key", "tokens.refused-unknown-key", "tokens.refused-no-key-id", "tokens.refused-embedded-key", "tokens.refused-tampered", "tokens.refused-padded"}, "signin.object-id"},
		{PretendsToBeConnected, "commands are queued and answered while there is no connection",
			[]string{"outage.error-reaches-caller", "signin.verifies-certificate", "issuer.refuses-two", "tokens.refused-malformed", "tokens.refused-too-large"}, "signin.object-id"},
		{RepeatsRefusedAuth, "a refused AUTH is sent again and again on the same connection",
			[]string{"refused.once-per-connection"}, "refused.unassigned"},
		{InsistsOnInfo, "INFO at connect is taken as a must, though the policy denies it",
			[]string{"policy.contributor-reads-and-writes", "policy.reader-reads", "policy.contributor-denied", "policy.reader-denied"}, "policy.owner-may-everything"},
		{InsistsOnConfig, "CONFIG GET at connect is taken as a must, though the service blocks it",
			[]string{"signin.object-id", "policy.owner-may-everything", "policy.blocked-command", "keys.key-works-before"}, "refused.unassigned"},
		{SendsAccessKeyAsUser, "the access key is sent as the user name",
			[]string{"keys.key-works-before"}, "signin.object-id"},
		{DiesWhenClosedEarly, "a token that arrives after the client was closed is an error that nobody catches",
			[]string{"close.during-renewal"}, "refresh.same-connection"},
		{BreaksWhenRefusedAgain, "a renewal that is refused ends the client",
			[]string{"trouble.refused-renewal"}, "refresh.same-connection"},
		{WaitsForEver, "a reply is waited for without a bound",
			[]string{"trouble.lost-reply", "trouble.dead-connections"}, "refresh.same-connection"},
		{KeepsAfterTimeout, "a connection whose reply was not waited for is used again",
			[]string{"trouble.late-reply", "reconnect.slow-sign-in"}, "refresh.same-connection"},
		{KnowsOneWording, "a refusal that does not begin with WRONGPASS is taken for a fault that lasts",
			[]string{"trouble.other-wording", "limits.max-clients"}, "refused.unassigned"},
		{KeepsReadOnly, "a connection to a node that takes no writes any more is kept",
			[]string{"failover.connections-kept"}, "failover.planned"},
		{BreaksWhileLoading, "a node that is loading its data is taken for one that is broken for good",
			[]string{"failover.loading"}, "reconnect.after-reboot"},
		{SignsInAtSeedOnly, "only the connection to the address that the application gave is signed in",
			[]string{"cluster.every-node"}, "signin.object-id"},
		{RenewsSeedOnly, "the nodes' own connections are forgotten at renewal",
			[]string{"cluster.renewed"}, "cluster.every-node"},
		{NeverFollowsMoved, "a redirection is handed out as an error",
			[]string{"cluster.moved", "cluster.scaled"}, "cluster.every-node"},
		{ForgetsAsking, "the other node is not told that it was another that sent the client",
			[]string{"cluster.ask", "cluster.renewed-while-migrating"}, "cluster.moved"},
		{NeverRereadsSlots, "which node serves which slot is asked for once",
			[]string{"cluster.node-gone"}, "cluster.moved"},
		{VerifiesAddresses, "the certificate is held against the address that a node was named by",
			[]string{"cluster.host-certificate"}, "cluster.every-node"},
		{ForgetsTransactions, "a connection that a transaction opens is not signed in",
			[]string{"transactions.first-of-all"}, "transactions.exec-unanswered"},
		{ResendsQueued, "a command of a transaction whose connection has ended is sent again by itself on another",
			[]string{"transactions.cut"}, "transactions.watch-lost"},
		{RenewsInsideTransactions, "AUTH with a new token is sent between MULTI and EXEC",
			[]string{"transactions.renewed-meanwhile"}, "transactions.exec-unanswered"},
		{MovesTransactions, "a transaction that was begun before a new token came is run on another connection",
			[]string{"transactions.still-watched"}, "transactions.watch-lost"},
		{RetriesTransactions, "a transaction whose connection is gone is run again, whatever was watched and whether or not it ran",
			[]string{"transactions.watch-lost", "transactions.watch-lost-while-away", "transactions.exec-unanswered"}, "transactions.still-watched"},
		{SkipsBusyConnections, "a connection on which a command waits is forgotten at renewal",
			[]string{"blocking.worker", "load.all-kinds"}, "refresh.same-connection"},
		{LosesBlockedCaller, "who waits for a job is not told that the connection has ended",
			[]string{"blocking.as-long-as-it-takes"}, "reconnect.after-reboot"},
		{KnowsOneListener, "the provider tells of new tokens only who asked last to be told",
			[]string{"sharing.both-renewed"}, "refresh.same-connection"},
		{ClosesSharedProvider, "the first client that is closed ends the provider that it shares with another",
			[]string{"sharing.one-closed"}, "sharing.both-renewed"},
		{SkipsEarlierSubscribers, "only the last subscriber's connection is renewed",
			[]string{"pubsub.two-subscribers"}, "pubsub.resp3-survives"},
		{AddsListeners, "each reconnect asks once more to be told of new tokens",
			[]string{"load.once-per-token"}, "reconnect.after-reboot"},
		{LeaksConnections, "each reconnect leaves a connection behind that nobody uses",
			[]string{"load.no-leak"}, "load.once-per-token"},
		{KeepsRenewing, "what gets the tokens does not end with the client",
			[]string{"close.quiet"}, "close.during-renewal"},
		{StormsWhenRefused, "a refused sign-in is tried again without a pause",
			[]string{"refused.bounded-rate"}, "refused.unassigned"},
		{AcknowledgesLost, "a command whose connection ended before the reply is taken for done",
			[]string{"reconnect.acknowledged"}, "refresh.same-connection"},
		{RetriesBlindly, "a command is sent again, also when it may have run",
			[]string{"reconnect.not-twice"}, "reconnect.acknowledged"},
		{BreaksWhenRenewalDies, "a renewal whose connection ends before the reply ends the client",
			[]string{"trouble.reboot-during-auth"}, "refresh.same-connection"},
		{GivesUpOnServerError, "status 500 is taken for an answer that will not change",
			[]string{"issuer.error", "credentials.machine-error"}, "credentials.machine-throttled"},
		{WaitsAHundredTimes, "the seconds of Retry-After are taken for a hundred times as much",
			[]string{"issuer.unavailable", "issuer.throttled"}, "issuer.error"},
		{TakesResetForTheEnd, "a token request without an answer ends the renewal",
			[]string{"issuer.reset", "issuer.short-outage"}, "issuer.error"},
		{StopsAfterThreeFailures, "the third failure in a row ends the renewal, and until the token has expired nobody asks for another",
			[]string{"issuer.short-outage"}, "outage.one-error"},
		{GivesUpAfterASecond, "a token request may take a second",
			[]string{"issuer.slow"}, "signin.object-id"},
		{StuckAfterTimeout, "a token request that timed out holds a lock for ever",
			[]string{"issuer.hangs"}, "outage.recovers"},
		{TakesRefusalForFinal, "a refused secret is refused for good",
			[]string{"issuer.secret-expired"}, "outage.recovers"},
		{HammersTheIssuer, "a failed token request is repeated without pause",
			[]string{"issuer.asked-quietly"}, "outage.one-error"},
		{GivesUpAtStart, "the failure of the first token request is kept, and handed out for ever",
			[]string{"issuer.down-at-start"}, "outage.recovers"},
		{TellsOneCaller, "of those who wait for a token that cannot be had, one is told",
			[]string{"issuer.refuses-two"}, "signin.object-id"},
		{GoesByExpiresIn, "the answer's expires_in is taken for the token's expiry",
			[]string{"tokens.expire-earlier"}, "refresh.same-connection"},
		{MistrustsTheAnswer, "an answer whose expires_in is not the token's expiry is refused",
			[]string{"tokens.expire-later", "tokens.expire-earlier"}, "refresh.same-connection"},
		{ReadsMilliseconds, "the seconds of refresh_in are taken for milliseconds",
			[]string{"tokens.refresh-in"}, "refresh.token-requests-bounded"},
		{AlwaysWithinMargin, "a token that lives shorter than the margin is renewed at once, and so is the next one",
			[]string{"tokens.short-lived"}, "refresh.token-requests-bounded"},
		{CountsFromIssue, "how long a token lives is counted from when it is dated",
			[]string{"tokens.backdated"}, "signin.object-id"},
		{CutsLongPasswords, "a password has 4096 bytes at most",
			[]string{"tokens.large"}, "signin.object-id"},
		{ScansForObjectID, "the first oid in the token's text is taken for the user name",
			[]string{"tokens.nested-object-id"}, "signin.object-id"},
		{ReadsPlainBase64, "the token is read as base64, which has other characters than base64url",
			[]string{"tokens.beyond-ascii"}, "signin.object-id"},
		{InsistsOnVersion1, "a token of another version is refused",
			[]string{"tokens.version-2"}, "signin.object-id"},
		{RepeatsWithoutPause, "a refused AUTH is sent again and again without pause",
			[]string{"tokens.refused-wrong-issuer", "tokens.refused-unknown-key", "refused.once-per-connection"}, "refused.unassigned"},
		{NamesNoCertificate, "which certificate has the key that signed is not said",
			[]string{"credentials.certificate"}, "credentials.workload-identity"},
		{SendsFileName, "the name of the file is sent, and not what is in it",
			[]string{"credentials.workload-identity"}, "credentials.certificate"},
		{AsksForScopeAsResource, "the machine is asked for a scope, where it knows resources",
			[]string{"credentials.system-assigned", "credentials.user-assigned"}, "credentials.certificate"},
		{AsksForOwnIdentity, "which managed identity is meant is not said",
			[]string{"credentials.user-assigned"}, "credentials.system-assigned"},
		{GivesUpOnMachine, "a machine that answers with an error is taken for one without managed identities, for good",
			[]string{"credentials.machine-error", "credentials.machine-throttled", "credentials.machine-recovers"}, "credentials.system-assigned"},
		{LosesConnectionOnDenial, "a denied command leaves the client unusable",
			[]string{"policy.contributor-denied", "policy.reader-denied", "policy.blocked-command", "policy.custom-keys", "policy.changed-while-connected"}, "policy.reader-reads"},
	}
}
