package libraries_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/entracache/entracache/fakeentra"
)

const (
	retryAfter = time.Second
	// clockGrain is by how much a library may be early because it counts whole
	// milliseconds, or from another moment than the issuer does.
	clockGrain = 100 * time.Millisecond
	// recoveryBound is how long a library may go on reporting an error after its cause
	// is gone; some remember it for a while.
	recoveryBound = 15 * time.Second
	recoveryPause = 250 * time.Millisecond
)

// The marks of the table.
const (
	markOK       = "✓"
	markWaited   = "↻" // throttled: the library waits and has its token then
	markReported = "!" // throttled: the caller gets the error, and a token later
	markTooSoon  = "⚡" // throttled: the library asks again before Retry-After
	markSilent   = "✗" // the caller gets an error that does not say why
)

// outcomes are what was seen of a library with a credential over a route.
type outcomes struct {
	// impossible is why the library cannot do it; empty if it can.
	impossible reason

	success, refused, throttled, outage string   // marks
	said                                []string // for people
}

// reason is why a library cannot do something: the letter of a note under the table.
type reason string

const (
	possible    reason = ""
	builtInIMDS reason = "a"
	noProxy     reason = "b"
)

// visit is one library with one credential on a machine.
type visit struct {
	*station
	library    string
	credential credential
	seen       outcomes

	survivor principal // lives through the outage
}

func (v *visit) say(format string, args ...any) {
	v.seen.said = append(v.seen.said, strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " "))
}

// requests are the entries of the issuer's log that are about somebody.
func (v *visit) requests(p principal) []fakeentra.Request {
	return slices.DeleteFunc(v.entra.Requests(), func(r fakeentra.Request) bool { return r.ClientID != p.clientID })
}

// issuedTo checks that the answer's token is the last one that the log has for
// somebody, and that it was asked for in the right way.
func (v *visit) issuedTo(p principal, a answer) error {
	claims, err := claimsOf(a.Token)
	if err != nil {
		return err
	}
	log := v.requests(p)
	if len(log) == 0 {
		return fmt.Errorf("a token for %s, who is not in the issuer's log", claims.ObjectID)
	}
	last := log[len(log)-1]
	switch {
	case last.Token == nil || last.Outcome != fakeentra.OutcomeOK:
		return fmt.Errorf("the library has a token, but the issuer's last answer was %s %s", last.Outcome, last.Error)
	case last.Token.ID != claims.ID || claims.ObjectID != p.objectID:
		return fmt.Errorf("the library has token %s of %s; the issuer's last one was %s for %s", claims.ID, claims.ObjectID, last.Token.ID, p.objectID)
	case last.Credential != v.wantCredential() || last.Source != v.wantSource():
		return fmt.Errorf("asked with credential %q of source %q, want %q and %q", last.Credential, last.Source, v.wantCredential(), v.wantSource())
	}
	return nil
}

func (v *visit) wantCredential() fakeentra.Credential {
	return map[credential]fakeentra.Credential{
		clientSecret: fakeentra.CredentialSecret, certificate: fakeentra.CredentialCertificate, workloadIdentity: fakeentra.CredentialFederated,
	}[v.credential]
}

func (v *visit) wantSource() fakeentra.IdentitySource {
	return map[credential]fakeentra.IdentitySource{appService: fakeentra.SourceAppService, imds: fakeentra.SourceIMDS}[v.credential]
}

// succeed signs in. If the library cannot, and it is known why that may be, the
// evidence is looked for; anything else is an error.
func (v *visit) succeed(ctx context.Context) error {
	if v.route == proxy && v.credential != appService { // whose endpoint is on the machine itself
		obeys, err := v.obeysProxy(ctx, v.library)
		if err != nil {
			return err
		}
		if !obeys {
			v.seen.impossible = noProxy
			return nil
		}
	}
	p, err := v.newPrincipal(v.library, v.credential, true)
	if err != nil {
		return err
	}
	a, err := v.program.ask(ctx, p.ask)
	if err != nil {
		return err
	}
	if !a.OK {
		if v.credential == imds && v.route == direct && len(v.requests(p)) == 0 && v.wentAstray(p) {
			v.seen.impossible = builtInIMDS
			return nil
		}
		return fmt.Errorf("no token: %s", a.Error)
	}
	if err := v.issuedTo(p, a); err != nil {
		return err
	}
	v.seen.success = markOK
	return nil
}

// wentAstray tells whether the library asked IMDS at its usual address.
func (v *visit) wentAstray(p principal) bool {
	return slices.ContainsFunc(v.astray.Requests(), func(r fakeentra.Request) bool {
		return r.Endpoint == fakeentra.EndpointManagedIdentity && r.Source == fakeentra.SourceIMDS && r.ClientID == p.clientID
	})
}

// refuse signs in with a credential that is not good.
func (v *visit) refuse(ctx context.Context) error {
	p, err := v.newPrincipal(v.library, v.credential, false)
	if err != nil {
		return err
	}
	a, err := v.program.ask(ctx, p.ask)
	if err != nil {
		return err
	}
	log := v.requests(p)
	if a.OK || len(log) == 0 {
		return fmt.Errorf("a bad credential: got a token: %t, after %d requests; error: %s", a.OK, len(log), a.Error)
	}
	want := map[credential]string{
		clientSecret: "AADSTS7000215", certificate: "AADSTS700027", workloadIdentity: "AADSTS700213",
		appService: "Expected the secret that the environment carries", imds: "Identity not found",
	}[v.credential]
	v.seen.refused = markOK
	for _, r := range log {
		if r.Outcome != fakeentra.OutcomeRefused {
			return fmt.Errorf("a bad credential: the issuer's answer was %s", r.Outcome)
		}
	}
	if !strings.Contains(a.Error, want) {
		v.seen.refused = markSilent
	}
	v.say("refused %d times, and the caller sees: %s", len(log), a.Error)
	return nil
}

// throttle has the issuer refuse for a second.
func (v *visit) throttle(ctx context.Context) error {
	p, err := v.newPrincipal(v.library, v.credential, true)
	if err != nil {
		return err
	}
	endpoint := fakeentra.EndpointToken
	if v.credential.managed() {
		endpoint = fakeentra.EndpointManagedIdentity
	}
	fault, err := v.entra.AddFault(fakeentra.Fault{
		Endpoint: endpoint, ClientID: p.clientID, Status: http.StatusTooManyRequests, RetryAfter: retryAfter, Times: 1,
	})
	if err != nil {
		return err
	}
	a, err := v.program.ask(ctx, p.ask)
	if err != nil {
		return err
	}
	if fault.Fired() != 1 {
		return fmt.Errorf("throttled: the fault was hit %d times", fault.Fired())
	}
	v.seen.throttled = markWaited
	if !a.OK {
		v.seen.throttled = markReported
		v.say("throttled, the caller sees: %s", a.Error)
		if !strings.Contains(a.Error, "AADSTS90055") {
			v.seen.throttled = markSilent
		}
		if a, err = v.recover(ctx, p); err != nil {
			return err
		}
	}
	if err := v.issuedTo(p, a); err != nil {
		return err
	}
	log := v.requests(p) // the fault first, and last the token
	waited := log[len(log)-1].Time.Sub(log[0].Time)
	v.say("throttled, asked again after %s", waited.Round(time.Millisecond))
	if v.seen.throttled == markWaited && waited < retryAfter-clockGrain {
		v.seen.throttled = markTooSoon
	}
	return nil
}

// recover asks until there is a token.
func (v *visit) recover(ctx context.Context, p principal) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, recoveryBound)
	defer cancel()
	for start, times := time.Now(), 1; ; times++ {
		a, err := v.program.ask(ctx, p.ask)
		if err != nil {
			return answer{}, err
		}
		if a.OK {
			v.say("got a token again with call %d, after %s", times, time.Since(start).Round(time.Millisecond))
			return a, nil
		}
		select {
		case <-time.After(recoveryPause):
		case <-ctx.Done():
			return answer{}, fmt.Errorf("still no token: %s", a.Error)
		}
	}
}

// suffer signs in during an outage.
func (v *visit) suffer(ctx context.Context) error {
	start := time.Now()
	p, err := v.newPrincipal(v.library, v.credential, true)
	if err != nil {
		return err
	}
	v.survivor = p
	a, err := v.program.ask(ctx, p.ask)
	if err != nil {
		return err
	}
	if a.OK || len(v.requests(p)) > 0 {
		return fmt.Errorf("an outage: got a token: %t, and %d requests were answered", a.OK, len(v.requests(p)))
	}
	v.say("outage, after %s the caller sees: %s", time.Since(start).Round(time.Millisecond), a.Error)
	return nil
}

// survive signs in after it, with the same object of the library's.
func (v *visit) survive(ctx context.Context) error {
	a, err := v.recover(ctx, v.survivor)
	if err != nil {
		return err
	}
	if err := v.issuedTo(v.survivor, a); err != nil {
		return err
	}
	v.seen.outage = markOK
	return nil
}

// together does something about each of many at the same time, and waits for all.
func together[T any](many []T, do func(T) error) error {
	errs := make([]error, len(many))
	var group sync.WaitGroup
	for i, one := range many {
		group.Go(func() { errs[i] = do(one) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// tour takes all libraries through everything on this machine.
func (s *station) tour(ctx context.Context, libraries []string) ([]*visit, error) {
	var visits []*visit
	for _, library := range libraries {
		for _, c := range s.credentials {
			visits = append(visits, &visit{station: s, library: library, credential: c})
		}
	}
	all := func(steps ...func(*visit, context.Context) error) error {
		return together(visits, func(v *visit) error {
			for _, step := range steps {
				if v.seen.impossible != possible {
					return nil
				}
				if err := step(v, ctx); err != nil {
					return fmt.Errorf("%s, %s, %s: %w", v.library, v.credential, v.route, err)
				}
			}
			return nil
		})
	}
	if s.wrongSecret {
		return visits, all((*visit).refuse)
	}
	steps := []func(*visit, context.Context) error{(*visit).succeed, (*visit).throttle}
	if s.place() != appService {
		steps = append(steps, (*visit).refuse)
	}
	if err := all(steps...); err != nil {
		return visits, err
	}
	s.entra.SetOutage(true)
	err := all((*visit).suffer)
	s.entra.SetOutage(false)
	if err != nil {
		return visits, err
	}
	if err := s.checkOutage(visits); err != nil {
		return visits, err
	}
	if err := all((*visit).survive); err != nil {
		return visits, err
	}
	return visits, s.checkRoute()
}

// checkOutage holds the log against the sign-ins that failed: at least one
// connection of each was turned away.
func (s *station) checkOutage(visits []*visit) error {
	away, failed := 0, 0
	for _, r := range s.entra.Requests() {
		if r.Outcome == fakeentra.OutcomeOutage {
			away++
		}
	}
	for _, v := range visits {
		if v.seen.impossible == possible {
			failed++
		}
	}
	if away < failed {
		return fmt.Errorf("%d sign-ins failed in an outage, but the issuer turned away no more than %d connections", failed, away)
	}
	return nil
}

// checkRoute holds the log against the route that was meant.
func (s *station) checkRoute() error {
	var err error
	for _, r := range s.entra.Requests() {
		if r.Endpoint == fakeentra.EndpointProxy && (s.route == direct || s.place() == appService) {
			err = errors.Join(err, fmt.Errorf("something went through the proxy that was to go past it, to %s", r.Path))
		}
	}
	for _, r := range s.astray.Requests() {
		if r.Endpoint != fakeentra.EndpointManagedIdentity || s.place() != imds { // for which see wentAstray
			err = errors.Join(err, fmt.Errorf("something went astray, to %s", r.Path))
		}
	}
	return err
}
