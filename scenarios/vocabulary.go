package scenarios

import (
	"regexp"

	"github.com/cucumber/godog"
)

// StepDefinition is one entry of the step vocabulary.
type StepDefinition struct {
	// Kind is Given, When or Then: what the step does. A feature may write And or But instead.
	Kind string
	// Form is how a feature writes the step; the words in <> vary.
	Form    string
	pattern *regexp.Regexp
	bind    func(*World) any
}

const (
	given = "Given"
	when  = "When"
	then  = "Then"
)

// placeholders are the varying words of a step's form.
var placeholders = map[string]string{
	"<policy>":      `"([^"]+)"`,
	"<command>":     `"([^"]+)"`,
	"<text>":        `"([^"]*)"`,
	"<permissions>": `"([^"]+)"`,
	"<channel>":     `"([^"]+)"`,
	"<message>":     `"([^"]+)"`,
	"<key>":         `"([^"]+)"`,
	"<scope>":       `"([^"]+)"`,
	"<n>":           `(\d+)`,
	"<minutes>":     `(\d+)`,
	"<seconds>":     `(\d+)`,
	"<ms>":          `(\d+)`,
	"<claim>":       `"([^"]+)"`,
	"<defect>":      `"([^"]+)"`,
	"<status>":      `(\d{3})`,
	"<protocol>":    `(RESP2|RESP3)`,
	"<s>":           `s?`,
}

var placeholder = regexp.MustCompile(`<[a-z]+>`)

func step(kind, form string, bind func(*World) any) StepDefinition {
	pattern := placeholder.ReplaceAllStringFunc(regexp.QuoteMeta(form), func(name string) string {
		p, ok := placeholders[name]
		if !ok {
			panic("scenarios: step form with an unknown placeholder " + name)
		}
		return p
	})
	return StepDefinition{kind, form, regexp.MustCompile("^" + pattern + "$"), bind}
}

// Vocabulary lists every step that a feature can use.
func Vocabulary() []StepDefinition { return vocabulary }

func countMatches(text string) int {
	n := 0
	for _, def := range vocabulary {
		if def.pattern.MatchString(text) {
			n++
		}
	}
	return n
}

// register binds the whole vocabulary to the world of one scenario.
func register(sc *godog.ScenarioContext, w *World) {
	for _, def := range vocabulary {
		sc.Step(def.pattern, def.bind(w))
	}
}

var vocabulary = []StepDefinition{
	// What the world is like.
	step(given, `a cache that accepts Microsoft Entra tokens`, func(w *World) any { return w.aCache }),
	step(given, `a clustered cache of <n> shards that accepts Microsoft Entra tokens`, func(w *World) any { return w.aClusteredCache }),
	step(given, `a cache that words a refusal as <text>`, func(w *World) any { return w.wordsRefusal }),
	step(given, `a cache that closes a connection when it has been idle for <minutes> minutes`, func(w *World) any { return w.closesIdle }),
	step(given, `a cache that takes <n> clients`, func(w *World) any { return w.takesClients }),
	step(given, `a cache on which Microsoft Entra authentication is not enabled`, func(w *World) any { return w.entraNotEnabled }),
	step(given, `a cache that leaves connections open when it fails over as planned`, func(w *World) any { return w.keepsConnectionsOnFailover }),
	step(given, `<n> other clients are connected`, func(w *World) any { return w.othersConnect }),
	step(given, `a service principal with the access policy <policy>`, func(w *World) any { return w.aServicePrincipal }),
	step(given, `a service principal without an access policy`, func(w *World) any { return w.anUnassignedServicePrincipal }),
	step(given, `a service principal of another tenant with the access policy <policy>`, func(w *World) any { return w.aForeignServicePrincipal }),
	step(given, `a custom access policy <policy> with the permissions <permissions>`, func(w *World) any { return w.aCustomPolicy }),
	step(given, `tokens that live for <minutes> minutes`, func(w *World) any { return w.tokensLive }),
	step(given, `tokens made for another audience`, func(w *World) any { return w.tokensForAnotherAudience }),
	step(given, `tokens that have expired already`, func(w *World) any { return w.tokensExpired }),
	step(given, `tokens with the defect <defect>`, func(w *World) any { return w.tokensWithDefect }),
	step(given, `tokens with the IDs of <n> groups`, func(w *World) any { return w.tokensWithGroups }),
	step(given, `tokens with a claim <claim> that holds the object ID of another`, func(w *World) any { return w.tokensNestingObjectID }),
	step(given, `tokens with a claim <claim> that holds <text>`, func(w *World) any { return w.tokensWithClaim }),
	step(given, `tokens of version 2.0`, func(w *World) any { return w.tokensOfVersion2 }),
	step(given, `tokens that are dated back by <minutes> minutes`, func(w *World) any { return w.tokensDatedBack }),
	step(given, `an answer that says of a token that it lives for <minutes> minutes`, func(w *World) any { return w.answerSaysLives }),
	step(given, `an answer that says of a token that it should be renewed after <minutes> minutes`, func(w *World) any { return w.answerSaysRenewed }),
	step(given, `the certificate of the cache comes from a certificate authority that the client does not trust`, func(w *World) any { return w.anUntrustedCertificate }),
	step(given, `the certificate of the cache is for another host than the client connects to`, func(w *World) any { return w.anotherHostsCertificate }),
	step(given, `the certificate of the cache names its host, and no IP address`, func(w *World) any { return w.aHostCertificate }),
	step(given, `the key <key> holds <text>`, func(w *World) any { return w.keyHolds }),

	// How the application is configured.
	step(given, `the client speaks <protocol>`, func(w *World) any { return w.clientSpeaks }),
	step(given, `the application signs in with a certificate`, func(w *World) any { return w.usesCertificate }),
	step(given, `the application signs in with the token of another issuer, which is in a file`, func(w *World) any { return w.usesOtherIssuersToken }),
	step(given, `the application signs in with the token of another issuer, which is in a file and lives for <minutes> minutes`, func(w *World) any { return w.usesOtherIssuersTokenFor }),
	step(given, `a machine whose own managed identity has the access policy <policy>`, func(w *World) any { return w.aSystemAssignedIdentity }),
	step(given, `a machine to which a managed identity with the access policy <policy> is assigned`, func(w *World) any { return w.aUserAssignedIdentity }),
	step(given, `a machine that hands out the same token until <minutes> minutes before it expires`, func(w *World) any { return w.machineKeepsToken }),
	step(given, `the application uses the primary access key`, func(w *World) any { return w.useAccessKey }),
	step(given, `the application configured the client ID as user name`, func(w *World) any { return w.useClientIDAsUsername }),

	// What the client does.
	step(given, `the client has opened a connection`, func(w *World) any { return w.hasOpenedAConnection }),
	step(given, `the client has opened <n> connections`, func(w *World) any { return w.hasOpenedConnections }),
	step(given, `the client has written <n> keys, some of them in every shard`, func(w *World) any { return w.hasWrittenKeys }),
	step(given, `the client has subscribed to <channel>`, func(w *World) any { return w.hasSubscribed }),
	step(when, `the client opens connections until it has <n>`, func(w *World) any { return w.opensConnections }),
	step(when, `the client runs <command>`, func(w *World) any { return w.runs }),
	step(when, `the client tries to run <command>`, func(w *World) any { return w.triesToRun }),
	step(when, `the client runs a command every <minutes> minutes for <minutes> minutes`, func(w *World) any { return w.runsEvery }),
	step(when, `the client tries to run a command every <minutes> minutes for <minutes> minutes`, func(w *World) any { return w.runsEvery }),
	step(when, `two clients at once try to run <command>`, func(w *World) any { return w.twoAtOnce }),
	step(when, `the client runs a command every <minutes> minutes for <n> days of trouble, drawn from the seed <n>`, func(w *World) any { return w.runsThroughTrouble }),

	step(given, `a second client has opened a connection, with the credentials provider of the first`, func(w *World) any { return w.secondOpens }),
	step(when, `both clients run a command every <minutes> minutes for <minutes> minutes`, func(w *World) any { return w.bothRunEvery }),
	step(when, `the second client runs a command every <minutes> minutes for <minutes> minutes`, func(w *World) any { return w.secondRunsEvery }),
	step(when, `the client runs a command every <minutes> minutes until that AUTH has come`, func(w *World) any { return w.untilAuthCame }),
	step(when, `the client adds 1 to <key> every <minutes> minutes for <minutes> minutes, while the cache reboots <n> times`, func(w *World) any { return w.addsEvery }),
	step(when, `the client reads all these keys every <minutes> minutes for <minutes> minutes`, func(w *World) any { return w.readsEvery }),
	step(given, `the client has begun the transaction <command>, watching <key>`, func(w *World) any { return w.hasBegunWatching }),
	step(when, `the client begins and ends the transaction <command> again and again, until a new token comes while one is open`, func(w *World) any { return w.transactsUntilToken }),
	step(when, `the client begins and ends the transaction <command>, watching <key>, again and again, until a new token comes while one is open`, func(w *World) any { return w.transactsWatchingUntilToken }),
	step(when, `the client tries to run the transaction <command>`, func(w *World) any { return w.triesTransaction }),
	step(when, `the client ends the transaction`, func(w *World) any { return w.endsTransaction }),
	step(given, `a worker of the client takes jobs from <key>, waiting a little at a time`, func(w *World) any { return w.workerWaits }),
	step(given, `a worker of the client takes jobs from <key>, waiting as long as it takes`, func(w *World) any { return w.workerWaitsForEver }),

	// What passes and what happens.
	step(when, `the client is left idle for <minutes> minutes`, func(w *World) any { return w.timePasses }),
	step(when, `<minutes> minutes have passed`, func(w *World) any { return w.timePasses }),
	step(when, `<message> is published on <channel>`, func(w *World) any { return w.published }),
	step(when, `the cache reboots`, func(w *World) any { return w.cacheReboots }),
	step(when, `the cache reboots <n> times, and the client comes back each time`, func(w *World) any { return w.rebootsAndBack }),
	step(when, `<n> times a connection ends when a PING comes, and the client comes back each time`, func(w *World) any { return w.endsAndBack }),
	step(when, `<n> jobs are put into <key>`, func(w *World) any { return w.jobsArePut }),
	step(when, `somebody else sets <key> to <text>`, func(w *World) any { return w.othersSet }),
	step(when, `the cache reboots and is away for <minutes> minutes`, func(w *World) any { return w.cacheIsAway }),
	step(when, `the cache reboots and loads its data for <minutes> minutes`, func(w *World) any { return w.cacheLoads }),
	step(when, `the cache fails over as planned`, func(w *World) any { return w.failsOverAsPlanned }),
	step(when, `the primary node fails, and a replica takes over after <seconds> seconds`, func(w *World) any { return w.primaryFails }),
	step(when, `the primary of a shard fails, and a replica takes over after <seconds> seconds`, func(w *World) any { return w.primaryOfShardFails }),
	step(when, `the primary of a shard reboots and is away for <minutes> minutes`, func(w *World) any { return w.primaryOfShardIsAway }),
	step(when, `the cache is scaled to <n> shards`, func(w *World) any { return w.isScaled }),
	step(when, `the slot of <key> moves to another shard`, func(w *World) any { return w.slotMoves }),
	step(when, `the slot of <key> is being moved to another shard, and the key is there already`, func(w *World) any { return w.keyMovesAhead }),
	step(when, `the nodes of the cache are patched, announced <minutes> minutes ahead`, func(w *World) any { return w.isPatched }),
	step(when, `within <minutes> minutes the patching is over`, func(w *World) any { return w.patchingIsOver }),
	step(given, `the next AUTH is refused`, func(w *World) any { return w.nextAuthRefused }),
	step(given, `the reply to the next AUTH is lost`, func(w *World) any { return w.nextAuthLost }),
	step(given, `the reply to the next AUTH is held back`, func(w *World) any { return w.nextAuthHeldBack }),
	step(given, `the next <n> sign-ins are answered too late, and with a refusal`, func(w *World) any { return w.signInsTooLate }),
	step(given, `the connection ends when the <n>nd <command> comes`, func(w *World) any { return w.endsAt }),
	step(given, `the connection ends before the next <command> is answered`, func(w *World) any { return w.leavesUnanswered }),
	step(when, `the reply that was held back is sent`, func(w *World) any { return w.heldBackIsSent }),
	step(when, `every connection goes dead without a word`, func(w *World) any { return w.connectionsGoDead }),
	step(when, `the other clients have left`, func(w *World) any { return w.othersLeave }),
	step(when, `Microsoft Entra authentication is enabled, and the nodes are away for <minutes> minutes`, func(w *World) any { return w.entraEnabled }),
	step(when, `access keys are disabled`, func(w *World) any { return w.accessKeysDisabled }),
	step(when, `access keys are enabled`, func(w *World) any { return w.accessKeysEnabled }),
	step(when, `the access policy of the service principal is removed`, func(w *World) any { return w.unassigned }),
	step(when, `the service principal is assigned the access policy <policy>`, func(w *World) any { return w.assigned }),
	step(when, `the issuer answers the next token request with HTTP status <status>`, func(w *World) any { return w.issuerFailsOnce }),
	step(when, `the issuer answers the next token request with HTTP status <status>, asking for <minutes> minute's pause`, func(w *World) any { return w.issuerAsksForPause }),
	step(when, `the issuer resets the connection of the next token request`, func(w *World) any { return w.issuerResetsOnce }),
	step(when, `the issuer fails every other token request with HTTP status <status>, <n> times`, func(w *World) any { return w.issuerFailsEveryOther }),
	step(when, `the issuer answers every token request with HTTP status <status>`, func(w *World) any { return w.issuerFailsAll }),
	step(when, `the issuer refuses the client secret as expired`, func(w *World) any { return w.issuerRefusesSecret }),
	step(when, `the issuer takes requests, and answers none`, func(w *World) any { return w.issuerHangs }),
	step(when, `the issuer answers as usual again`, func(w *World) any { return w.issuerIsWell }),
	step(when, `the file has got the next token of the other issuer`, func(w *World) any { return w.otherIssuersNextToken }),
	step(when, `the machine answers the next token request with HTTP status <status>`, func(w *World) any { return w.machineFailsOnce }),
	step(when, `the machine answers every token request with HTTP status <status>`, func(w *World) any { return w.machineFailsAll }),
	step(when, `the machine answers as usual again`, func(w *World) any { return w.issuerIsWell }),
	step(given, `the issuer takes <ms> ms to answer`, func(w *World) any { return w.issuerTakes }),
	step(given, `the issuer keeps its answers back from now on`, func(w *World) any { return w.issuerKeepsBack }),
	step(when, `a token has been asked for again`, func(w *World) any { return w.tokenAskedAgain }),
	step(when, `the client is closed before the answer comes`, func(w *World) any { return w.closedBeforeTheAnswer }),
	step(when, `the client is closed`, func(w *World) any { return w.clientIsClosed }),
	step(when, `the issuer goes down`, func(w *World) any { return w.issuerGoesDown }),
	step(when, `the issuer is back`, func(w *World) any { return w.issuerIsBack }),

	// What the application sees.
	step(then, `the command succeeds`, func(w *World) any { return w.commandSucceeds }),
	step(then, `the command answers <text>`, func(w *World) any { return w.commandAnswers }),
	step(then, `the command fails`, func(w *World) any { return w.commandFails }),
	step(then, `the command fails with <text>`, func(w *World) any { return w.commandFailsWith }),
	step(then, `both commands fail`, func(w *World) any { return w.bothFail }),
	step(then, `every command succeeded`, func(w *World) any { return w.everyCommandSucceeded }),
	step(then, `the client was back within <minutes> minutes after each trouble, and no command failed beside it`, func(w *World) any { return w.backAfterTrouble }),
	step(then, `within <minutes> minutes <command> succeeds`, func(w *World) any { return w.succeedsWithin }),
	step(then, `within <minutes> minutes all these keys can be read`, func(w *World) any { return w.allKeysReadable }),
	step(then, `the subscriber has received <message>`, func(w *World) any { return w.subscriberReceived }),
	step(then, `the subscriber has received the announcement <text>`, func(w *World) any { return w.receivedAnnouncement }),
	step(then, `within <minutes> minutes <message> published on <channel> reaches the subscriber`, func(w *World) any { return w.messageReachesSubscriber }),

	step(then, `the transaction answers <text>`, func(w *World) any { return w.transactionAnswers }),
	step(then, `the transaction was not run`, func(w *World) any { return w.transactionNotRun }),
	step(then, `the transaction ran as a whole and once, or not at all, and the client says nothing else`, func(w *World) any { return w.transactionTold }),
	step(then, `within <minutes> minutes the worker has every job, and each once`, func(w *World) any { return w.workerHasJobs }),
	step(then, `no command of the worker failed`, func(w *World) any { return w.workerNeverFailed }),
	step(then, `every addition to <key> that was acknowledged was made`, func(w *World) any { return w.acknowledgedMade }),
	step(then, `the cache holds <text> under <key>`, func(w *World) any { return w.cacheHolds }),
	step(then, `the cache holds nothing under <key>`, func(w *World) any { return w.cacheHoldsNothing }),
	step(then, `the application lives on`, func(w *World) any { return w.applicationLivesOn }),

	// What the cache saw: sign-ins.
	step(then, `every sign-in used the object ID as user name`, func(w *World) any { return w.everySignInUsedObjectID }),
	step(then, `every sign-in used a token that the issuer gave to this application`, func(w *World) any { return w.everySignInUsedIssuedToken }),
	step(then, `every sign-in used an access key`, func(w *World) any { return w.everySignInUsedAccessKey }),
	step(then, `no sign-in was refused`, func(w *World) any { return w.noSignInRefused }),
	step(then, `no sign-in succeeded`, func(w *World) any { return w.noSignInSucceeded }),
	step(then, `a sign-in was refused because of the audience`, func(w *World) any { return w.refusedBecause(audienceReasons) }),
	step(then, `a sign-in was refused because of the tenant`, func(w *World) any { return w.refusedBecause(tenantReasons) }),
	step(then, `a sign-in was refused because no access policy is assigned`, func(w *World) any { return w.refusedBecause(unassignedReasons) }),
	step(then, `a sign-in was refused because the user name is not the object ID`, func(w *World) any { return w.refusedBecause(usernameReasons) }),
	step(then, `a sign-in was refused because access keys are disabled`, func(w *World) any { return w.refusedBecause(disabledKeyReasons) }),
	step(then, `an AUTH was refused by the way`, func(w *World) any { return w.faultWasMet }),
	step(then, `a reply to AUTH was lost by the way`, func(w *World) any { return w.faultWasMet }),
	step(then, `a reply to AUTH was held back by the way`, func(w *World) any { return w.faultWasMet }),
	step(then, `an <command> was left without an answer by the way`, func(w *World) any { return w.leftUnanswered }),
	step(then, `no connection has sent the same token twice`, func(w *World) any { return w.noTokenSentTwice }),
	step(then, `the renewals of these connections are spread over at least <seconds> seconds`, func(w *World) any { return w.renewalsSpread }),
	step(then, `the client has signed in no more than <n> times in any second`, func(w *World) any { return w.signInsPerSecond }),
	step(then, `the client sent no token`, func(w *World) any { return w.sentNoToken }),
	step(then, `no connection has sent AUTH more than once`, func(w *World) any { return w.noConnectionSentAuthTwice }),
	step(then, `the client has sent AUTH at most <n> times`, func(w *World) any { return w.sentAuthAtMost }),
	step(then, `the client has signed in with at least <n> different tokens`, func(w *World) any { return w.signedInWithTokens }),
	step(then, `the client has signed in at the primary of every shard`, func(w *World) any { return w.signedInAtEveryPrimary }),
	step(then, `the client has signed in at the primary of every shard with at least <n> different tokens`, func(w *World) any { return w.signedInAtEveryPrimaryWith }),
	step(then, `the newest connection signed in with a token other than the first one`, func(w *World) any { return w.newestConnectionHasNewToken }),

	// What the cache saw: connections.
	step(then, `every connection used TLS 1.2 or higher`, func(w *World) any { return w.everyConnectionUsedTLS12 }),
	step(then, `every connection spoke <protocol>`, func(w *World) any { return w.everyConnectionSpoke }),
	step(then, `every connection that the client kept has sent AUTH with a newer token before the old one expired`, func(w *World) any { return w.everyConnectionRenewed }),
	step(then, `every connection that the client kept has sent AUTH with a newer token at least <minutes> minutes before the old one expired`, func(w *World) any { return w.everyConnectionRenewedBefore }),
	step(then, `every one of the <n> connections that the client kept has sent AUTH with a newer token at least <minutes> minutes before the old one expired`, func(w *World) any { return w.everyOneRenewedBefore }),
	step(then, `no connection was closed by the cache`, func(w *World) any { return w.noConnectionClosedByCache }),
	step(then, `no connection was closed because its token expired`, func(w *World) any { return w.noConnectionExpired }),
	step(then, `within <minutes> minutes the client has left no connection behind`, func(w *World) any { return w.noConnectionLeftBehind }),
	step(then, `no connection was opened since the client was closed`, func(w *World) any { return w.noConnectionSinceClosed }),
	step(then, `the client has no connection open`, func(w *World) any { return w.noConnectionOpen }),
	step(then, `every connection that was open has ended`, func(w *World) any { return w.everyConnectionEnded }),
	step(then, `every connection of the client was closed because access keys changed`, func(w *World) any { return w.everyConnectionCutByKeys }),
	step(then, `the cache has denied <command>`, func(w *World) any { return w.cacheDenied }),

	// What the issuer saw.
	step(then, `every token was asked for with the scope <scope> or <scope>`, func(w *World) any { return w.everyTokenAskedWithScope }),
	step(then, `the issuer was asked for a token at most <n> times`, func(w *World) any { return w.tokenRequestsAtMost }),
	step(then, `the issuer was asked for no token since the client was closed`, func(w *World) any { return w.noTokenSinceClosed }),
	step(then, `the issuer has failed <n> token request<s>`, func(w *World) any { return w.issuerHasFailed }),
	step(then, `the machine has failed <n> token request<s>`, func(w *World) any { return w.issuerHasFailed }),
}
