package scenarios

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/entracache/entracache/fakeentra"
	"github.com/entracache/entracache/fakeserver"
)

// The reasons that the cache may give for one cause: which of several true reasons it names is its own choice.
var (
	audienceReasons    = []fakeserver.Reason{fakeserver.ReasonWrongAudience}
	tenantReasons      = []fakeserver.Reason{fakeserver.ReasonWrongTenant, fakeserver.ReasonWrongIssuer}
	unassignedReasons  = []fakeserver.Reason{fakeserver.ReasonNotAssigned}
	usernameReasons    = []fakeserver.Reason{fakeserver.ReasonUsernameMismatch}
	disabledKeyReasons = []fakeserver.Reason{fakeserver.ReasonAccessKeysDisabled}
)

// signIns returns every AUTH and HELLO … AUTH; none at all is a mismatch, for "every sign-in" must not hold of nothing.
func (w *World) signIns(expected string) ([]fakeserver.Event, error) {
	var list []fakeserver.Event
	for _, c := range connections(w.cache.Events()) {
		list = append(list, c.signIns...)
	}
	if len(list) == 0 {
		return nil, expect(expected, "the client has not signed in at all")
	}
	return list, nil
}

// everySignIn checks all sign-ins; wrong returns what is wrong with one, or "".
func (w *World) everySignIn(expected string, wrong func(fakeserver.Event) string) error {
	list, err := w.signIns(expected)
	if err != nil {
		return err
	}
	var faults []string
	for _, e := range list {
		if why := wrong(e); why != "" {
			faults = append(faults, fmt.Sprintf("connection %d at %s: %s", e.Conn, w.at(e.Time), why))
		}
	}
	if len(faults) > 0 {
		return expect(expected, "%s", join(faults))
	}
	return nil
}

func (w *World) everySignInUsedObjectID() error {
	return w.everySignIn("the object ID "+w.app.ObjectID+" as user name", func(e fakeserver.Event) string {
		switch {
		case e.User == w.app.ClientID:
			return "the client ID " + e.User
		case e.User != w.app.ObjectID:
			return fmt.Sprintf("the user name %q", e.User)
		case e.Outcome != fakeserver.OutcomeOK:
			return "refused: " + string(e.Reason)
		}
		return ""
	})
}

func (w *World) everySignInUsedIssuedToken() error {
	issued := map[string]bool{}
	for _, r := range w.entra.Requests() {
		if r.Token != nil && r.ClientID == w.app.ClientID {
			issued[r.Token.ID] = true
		}
	}
	return w.everySignIn("a token that the issuer gave to this application", func(e fakeserver.Event) string {
		switch {
		case e.Token == nil:
			return "no token"
		case !issued[e.Token.ID]:
			return "a token that the issuer did not give to it"
		}
		return ""
	})
}

func (w *World) everySignInUsedAccessKey() error {
	return w.everySignIn("an access key", func(e fakeserver.Event) string {
		switch {
		case e.Token != nil:
			return "a token"
		case e.Outcome != fakeserver.OutcomeOK:
			return "refused: " + string(e.Reason)
		}
		return ""
	})
}

func (w *World) noSignInRefused() error {
	return w.everySignIn("no refused sign-in", func(e fakeserver.Event) string {
		if e.Outcome == fakeserver.OutcomeOK {
			return ""
		}
		return fmt.Sprintf("refused: %s", e.Reason)
	})
}

func (w *World) noSignInSucceeded() error {
	for _, c := range connections(w.cache.Events()) {
		if ok := c.accepted(); len(ok) > 0 {
			return expect("no accepted sign-in", "connection %d signed in at %s", c.id, w.at(ok[0].Time))
		}
	}
	return nil
}

// refusedBecause waits: a client that reconnects in the background tells its caller first and signs in a moment later.
func (w *World) refusedBecause(reasons []fakeserver.Reason) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(w.ctx, long)
		defer cancel()
		if _, err := w.cache.Wait(ctx, func(e fakeserver.Event) bool {
			return e.Kind == fakeserver.EventAuth && e.Outcome != fakeserver.OutcomeOK && slices.Contains(reasons, e.Reason)
		}); err == nil {
			return nil
		}
		expected := fmt.Sprintf("a sign-in that the cache refused: %s", reasons[0])
		list, err := w.signIns(expected)
		if err != nil {
			return err
		}
		var seen []string
		for _, e := range list {
			seen = append(seen, strings.TrimSpace(fmt.Sprintf("%s %s", e.Outcome, e.Reason)))
		}
		return expect(expected, "%s", join(seen))
	}
}

// faultWasMet proves that the client met the fault of the scenario: without it the scenario would show nothing.
func (w *World) faultWasMet() error {
	if w.fault == nil {
		return errors.New("the step needs a fault that was set before it")
	}
	if w.fault.Fired() == 0 {
		return expect("the client to send AUTH", "it has sent none")
	}
	return nil
}

func (w *World) sentNoToken() error {
	// The client would send it right after the handshake: if it came at all, it has come by now or comes in a moment.
	ctx, cancel := context.WithTimeout(w.ctx, never)
	defer cancel()
	e, err := w.cache.Wait(ctx, func(e fakeserver.Event) bool { return e.Kind == fakeserver.EventAuth })
	if err == nil {
		return expect("no token sent to a server that cannot be verified", "%s on connection %d at %s", strings.ToUpper(e.Command), e.Conn, w.at(e.Time))
	}
	return nil
}

func (w *World) noConnectionSentAuthTwice() error {
	expected := "at most one AUTH per connection once it was refused"
	if _, err := w.signIns(expected); err != nil {
		return err
	}
	for _, c := range connections(w.cache.Events()) {
		if len(c.signIns) > 1 {
			return expect(expected, "%d on connection %d", len(c.signIns), c.id)
		}
	}
	return nil
}

func (w *World) signedInWithTokens(n int) error {
	tokens := map[string]bool{}
	for _, c := range connections(w.cache.Events()) {
		for _, e := range c.accepted() {
			if e.Token != nil {
				tokens[e.Token.ID] = true
			}
		}
	}
	if len(tokens) < n {
		return expect(fmt.Sprintf("sign-ins with at least %d different tokens", n), "%d", len(tokens))
	}
	return nil
}

func (w *World) newestConnectionHasNewToken() error {
	expected := "the newest connection signed in with a token newer than the first"
	list := signedIn(connections(w.cache.Events()))
	if len(list) == 0 {
		return expect(expected, "no connection has signed in")
	}
	first, newest := list[0].accepted()[0], list[len(list)-1].accepted()[0]
	if len(list) == 1 {
		return expect(expected, "the client has opened one connection only")
	}
	if first.Token == nil || newest.Token == nil || newest.Token.ID == first.Token.ID {
		return expect(expected, "connection %d signed in at %s with the first token", list[len(list)-1].id, w.at(newest.Time))
	}
	return nil
}

// everyConnection checks all connections of which there must be at least one.
func (w *World) everyConnection(list []*connection, expected string, wrong func(*connection) string) error {
	if len(list) == 0 {
		return expect(expected, "the client has no connection")
	}
	var faults []string
	for _, c := range list {
		if why := wrong(c); why != "" {
			faults = append(faults, why)
		}
	}
	if len(faults) > 0 {
		return expect(expected, "%s", join(faults))
	}
	return nil
}

func (w *World) everyConnectionUsedTLS12() error {
	expected := "TLS 1.2 or higher on every connection"
	for _, e := range w.cache.Events() {
		if e.Kind == fakeserver.EventTLSFailed {
			return expect(expected, "a TLS handshake failed at %s: %s", w.at(e.Time), e.Detail)
		}
	}
	return w.everyConnection(connections(w.cache.Events()), expected, func(c *connection) string {
		if c.tlsVersion == "TLS 1.2" || c.tlsVersion == "TLS 1.3" {
			return ""
		}
		return fmt.Sprintf("connection %d used %q", c.id, c.tlsVersion)
	})
}

func (w *World) everyConnectionSpoke(protocol string) error {
	return w.everyConnection(signedIn(connections(w.cache.Events())), protocol+" on every connection", func(c *connection) string {
		if got := fmt.Sprintf("RESP%d", c.proto); got != protocol {
			return fmt.Sprintf("connection %d spoke %s", c.id, got)
		}
		return ""
	})
}

func (w *World) everyConnectionRenewed() error { return w.everyConnectionRenewedBefore(0) }

func (w *World) everyConnectionRenewedBefore(minutes int) error {
	expected := "AUTH with a newer token before the old one expires"
	if minutes > 0 {
		expected = fmt.Sprintf("AUTH with a newer token at least %d minutes before the old one expires", minutes)
	}
	return w.everyConnection(signedIn(connections(w.cache.Events())), expected, func(c *connection) string {
		return w.renewedBefore(c, w.span(minutes))
	})
}

func (w *World) everyOneRenewedBefore(n, minutes int) error {
	expected := fmt.Sprintf("on each of %d connections, AUTH with a newer token at least %d minutes before the old one expires", n, minutes)
	list := slices.DeleteFunc(connections(w.cache.Events()), func(c *connection) bool { return !slices.Contains(w.openedIDs, c.id) })
	if len(list) < n {
		return fmt.Errorf("the step speaks of %d connections, but only %d were opened before it", n, len(list))
	}
	return w.everyConnection(list, expected, func(c *connection) string { return w.renewedBefore(c, w.span(minutes)) })
}

func (w *World) noConnectionClosedByCache() error {
	return w.everyConnection(connections(w.cache.Events()), "no connection closed by the cache", func(c *connection) string {
		if c.closedByCache() {
			return fmt.Sprintf("the cache closed connection %d at %s: %s", c.id, w.at(c.closed), c.closeReason)
		}
		return ""
	})
}

func (w *World) noConnectionExpired() error {
	return w.everyConnection(connections(w.cache.Events()), "no connection closed because its token expired", func(c *connection) string {
		if c.closeReason == fakeserver.ReasonTokenExpired {
			return fmt.Sprintf("the cache closed connection %d at %s: %s", c.id, w.at(c.closed), c.closeReason)
		}
		return ""
	})
}

// everyConnectionEnded and everyConnectionCutByKeys look at the connections that the last "has opened" step left open, for the
// client may have come back since. Who ended them is not asked by the first: a client may give up a connection that it cannot renew.
func (w *World) everyConnectionEnded() error {
	return w.everyOpenedClosed("every connection that was open to have ended", func(fakeserver.Reason) bool { return true })
}

func (w *World) everyConnectionCutByKeys() error {
	return w.everyOpenedClosed("every connection closed by the cache because access keys changed", func(r fakeserver.Reason) bool {
		return r == fakeserver.ReasonAccessKeysChanged
	})
}

func (w *World) everyOpenedClosed(expected string, fits func(fakeserver.Reason) bool) error {
	ctx, cancel := context.WithTimeout(w.ctx, long)
	defer cancel()
	for _, id := range w.openedIDs {
		e, err := w.cache.Wait(ctx, func(e fakeserver.Event) bool { return e.Kind == fakeserver.EventConnectionClosed && e.Conn == id })
		if err != nil {
			return expect(expected, "connection %d is still open at %s", id, w.at(w.clock.Now()))
		}
		if !fits(e.Reason) {
			return expect(expected, "connection %d was closed at %s: %s", id, w.at(e.Time), e.Reason)
		}
	}
	if len(w.openedIDs) == 0 {
		return fmt.Errorf("the step speaks of connections, but none was opened before it")
	}
	return nil
}

func (w *World) cacheDenied(command string) error {
	ctx, cancel := context.WithTimeout(w.ctx, never)
	defer cancel()
	if _, err := w.cache.Wait(ctx, func(e fakeserver.Event) bool { return e.Kind == fakeserver.EventDenied && e.Command == command }); err != nil {
		return expect(fmt.Sprintf("the cache to deny %q", command), "it has not seen that command denied")
	}
	return nil
}

// tokenRequests are the requests for a token: at the token endpoint, and at that of the machine for its managed identities.
func (w *World) tokenRequests() []fakeentra.Request {
	return slices.DeleteFunc(w.entra.Requests(), func(r fakeentra.Request) bool {
		return r.Endpoint != fakeentra.EndpointToken && r.Endpoint != fakeentra.EndpointManagedIdentity
	})
}

func (w *World) everyTokenAskedWithScope(one, other string) error {
	expected := fmt.Sprintf("the scope %s or %s", one, other)
	requests := w.tokenRequests()
	if len(requests) == 0 {
		return expect(expected, "no token was asked for")
	}
	for _, r := range requests {
		// MSAL adds scopes of its own, such as openid.
		asked := strings.Fields(r.Scope)
		if !slices.Contains(asked, one) && !slices.Contains(asked, other) {
			return expect(expected, "at %s a token was asked for with the scope %q", w.at(r.Time), r.Scope)
		}
	}
	return nil
}

func (w *World) tokenRequestsAtMost(n int) error {
	requests := w.tokenRequests()
	if len(requests) == 0 {
		return expect("a token request", "none")
	}
	if len(requests) > n {
		return expect(fmt.Sprintf("at most %d token requests in %s", n, w.life(w.clock.Since(w.start))), "%d token requests, one every %s on average",
			len(requests), w.life(requests[len(requests)-1].Time.Sub(requests[0].Time)/time.Duration(len(requests)-1)))
	}
	return nil
}

// issuerHasFailed proves that the fault of the scenario was really met: without it the scenario would show nothing.
func (w *World) issuerHasFailed(n int) error {
	failed := 0
	for _, r := range w.tokenRequests() {
		if r.Outcome == fakeentra.OutcomeFault {
			failed++
		}
	}
	if failed != n {
		return expect(fmt.Sprintf("%d token request that was made to fail", n), "%d of %d token requests", failed, len(w.tokenRequests()))
	}
	return nil
}

// at prints a moment as the time of the scenario at which it was.
func (w *World) at(t time.Time) string { return "+" + w.life(t.Sub(w.start)) }
