package fakeentra

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// DefaultDeviceCodeLifetime: "the user has 15 minutes to sign in" (Entra
	// documentation, "OAuth 2.0 device authorization grant flow").
	DefaultDeviceCodeLifetime = 15 * time.Minute
	// DefaultDeviceCodeInterval is what a client assumes without an interval (RFC
	// 8628, section 3.2); that the service says the same has no source.
	DefaultDeviceCodeInterval = 5 * time.Second
)

// WithDeviceCodes sets how long a person has to approve a device code, and how
// long a client should wait between two polls. Both in whole seconds; zero means
// the default, DefaultDeviceCodeLifetime and DefaultDeviceCodeInterval.
func WithDeviceCodes(lifetime, interval time.Duration) Option {
	return func(c *config) {
		c.deviceLifetime = cmp.Or(lifetime, DefaultDeviceCodeLifetime)
		c.deviceInterval = cmp.Or(interval, DefaultDeviceCodeInterval)
	}
}

// WithSlowDown answers slow_down (RFC 8628, section 3.5) to a client that polls
// for a device code sooner than the interval after its last poll. That the service
// does so has no source, its documentation does not list the error, and so the
// default is authorization_pending.
func WithSlowDown() Option { return func(c *config) { c.slowDown = true } }

// DeviceCode is a sign-in that waits for a person to approve it.
type DeviceCode struct {
	// UserCode is what the device shows, and what ApproveDeviceCode takes.
	UserCode string
	// ClientID is the application that wants to sign somebody in.
	ClientID string
	// Scope (v2.0) or Resource (v1.0) is what for, as sent.
	Scope, Resource string
	// Expires is until when it can be approved.
	Expires time.Time
}

// deviceGrant is a device code and what has become of it.
type deviceGrant struct {
	DeviceCode
	secret   string // the device code itself
	tenant   *Tenant
	any      bool // asked for at /common or /organizations
	target   target
	user     *User
	granted  time.Time
	denied   bool
	polled   time.Time
	approved bool
}

// deviceStore are the device codes that have been given out, oldest first. There
// are seldom more than a few.
type deviceStore struct {
	mu     sync.Mutex
	grants []*deviceGrant
}

// keepExpired is for how long an expired device code is known as such.
const keepExpired = time.Hour

func (d *deviceStore) add(g *deviceGrant, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.grants = slices.DeleteFunc(d.grants, func(old *deviceGrant) bool { return now.After(old.Expires.Add(keepExpired)) })
	if len(d.grants) >= maxGrants {
		d.grants = slices.Delete(d.grants, 0, len(d.grants)-maxGrants+1)
	}
	d.grants = append(d.grants, g)
}

// pending finds a code that can still be approved; d.mu must be held.
func (d *deviceStore) pending(userCode string, now time.Time) *deviceGrant {
	userCode = strings.ToUpper(strings.TrimSpace(userCode))
	for _, g := range d.grants {
		if g.UserCode == userCode && !g.approved && !g.denied && now.Before(g.Expires) {
			return g
		}
	}
	return nil
}

// DeviceCodes lists the device codes that wait to be approved, oldest first.
func (s *Server) DeviceCodes() []DeviceCode {
	s.devices.mu.Lock()
	defer s.devices.mu.Unlock()
	var codes []DeviceCode
	for _, g := range s.devices.grants {
		if !g.approved && !g.denied && s.now().Before(g.Expires) {
			codes = append(codes, g.DeviceCode)
		}
	}
	return codes
}

// ApproveDeviceCode does what a person does who enters the code at the page that
// the device names and signs in. It returns an error for a code that nobody waits
// for, and for a user of a tenant that the client did not ask about.
func (s *Server) ApproveDeviceCode(userCode string, user *User) error {
	return s.decide(userCode, func(g *deviceGrant) error {
		tenant := s.directory.tenant(user.TenantID)
		if tenant == nil || !g.any && tenant != g.tenant {
			return fmt.Errorf("fakeentra: device code %s: expected a user of tenant %s, got one of %s", userCode, g.tenant.ID, user.TenantID)
		}
		g.tenant, g.user, g.granted, g.approved = tenant, user, s.now(), true
		return nil
	})
}

// DenyDeviceCode does what a person does who declines. It returns an error for a
// code that nobody waits for.
func (s *Server) DenyDeviceCode(userCode string) error {
	return s.decide(userCode, func(g *deviceGrant) error {
		g.denied = true
		return nil
	})
}

func (s *Server) decide(userCode string, how func(*deviceGrant) error) error {
	s.devices.mu.Lock()
	defer s.devices.mu.Unlock()
	g := s.devices.pending(userCode, s.now())
	if g == nil {
		return fmt.Errorf("fakeentra: device code %q: no client waits for it; it may have expired or been decided already", userCode)
	}
	return how(g)
}

type deviceAnswerV2 struct {
	UserCode        string `json:"user_code"`
	DeviceCode      string `json:"device_code"`
	VerificationURI string `json:"verification_uri"`
	ExpiresIn       int64  `json:"expires_in"`
	Interval        int64  `json:"interval"`
	Message         string `json:"message"`
}

type deviceAnswerV1 struct {
	UserCode        string `json:"user_code"`
	DeviceCode      string `json:"device_code"`
	VerificationURL string `json:"verification_url"`
	ExpiresIn       string `json:"expires_in"`
	Interval        string `json:"interval"`
	Message         string `json:"message"`
}

// deviceCode begins a sign-in on another device. The page that it names is this
// issuer's own, where the service has https://microsoft.com/devicelogin.
func (x *exchange) deviceCode() {
	if x.r.Method != http.MethodPost {
		x.refuse(codePostOnly)
		return
	}
	tenant := x.tenant()
	if tenant == nil && x.anyTenant() {
		tenant = x.server.tenant
	}
	if tenant == nil {
		x.refuse(codeUnknownTenant)
		return
	}
	if missing := x.missingParameter([]string{"client_id", x.targetName()}); missing != "" {
		x.details.parameter = missing
		x.refuse(codeMissingParameter)
		return
	}
	app := tenant.app(x.form.clientID)
	if app == nil {
		x.refuse(codeUnknownApp)
		return
	}
	t, code := x.target(tenant.ID)
	if code != 0 {
		x.refuse(code)
		return
	}
	cfg := x.server.cfg
	now := x.server.now()
	g := &deviceGrant{
		DeviceCode: DeviceCode{
			UserCode: newUserCode(),
			ClientID: app.ClientID,
			Scope:    x.param("scope"),
			Resource: x.param("resource"),
			Expires:  now.Add(cfg.deviceLifetime),
		},
		secret: "1.A" + randomString(60),
		tenant: tenant,
		any:    x.anyTenant(),
		target: t,
	}
	x.server.devices.add(g, now)
	uri := x.base() + "/common/oauth2/deviceauth"
	lifetime, interval := int64(cfg.deviceLifetime/time.Second), int64(cfg.deviceInterval/time.Second)
	message := "To sign in, use a web browser to open the page " + uri + " and enter the code " + g.UserCode + " to authenticate."
	if x.route.v2 {
		x.ok(deviceAnswerV2{g.UserCode, g.secret, uri, lifetime, interval, message})
		return
	}
	x.ok(deviceAnswerV1{g.UserCode, g.secret, uri, strconv.FormatInt(lifetime, 10), strconv.FormatInt(interval, 10), message})
}

// newUserCode has nine letters, as those of the service; without vowels, so that
// it is no word.
func newUserCode() string {
	const letters = "BCDFGHJKLMNPQRSTVWXZ"
	b := make([]byte, 9)
	_, _ = rand.Read(b) // never fails
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return string(b)
}

// deviceToken answers a poll.
func (x *exchange) deviceToken() int {
	secret := cmp.Or(x.param("device_code"), x.param("code")) // the latter at v1.0
	if secret == "" {
		x.details.parameter = "device_code"
		return codeMissingParameter
	}
	g, code := x.server.devices.poll(secret, x.form.clientID, x.server)
	if code != 0 {
		return code
	}
	if x.tenant() != g.tenant && !(g.any && x.anyTenant()) {
		return codeBadDeviceCode
	}
	app := g.tenant.app(g.ClientID)
	if app == nil { // the user's tenant does not have it
		return codeUnknownApp
	}
	if code := x.authenticateApp(g.tenant, app); code != 0 {
		return code
	}
	switch {
	case g.denied:
		return codeDeclined
	case !g.approved:
		return codePending
	}
	x.record.UserID = g.user.ObjectID
	switch {
	case g.user.Disabled():
		return codeUserDisabled
	case !x.server.devices.remove(secret): // somebody was faster
		return codeBadDeviceCode
	}
	x.issueToUser(app, g.user, signIn{
		TenantID: g.tenant.ID, ClientID: g.ClientID, UserID: g.user.ObjectID, Target: g.target, Any: g.any, Granted: g.granted,
	})
	return 0
}

// poll returns a copy of the grant, or the code to refuse the poll with.
func (d *deviceStore) poll(secret, clientID string, s *Server) (deviceGrant, int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := s.now()
	for _, g := range d.grants {
		if g.secret != secret || !strings.EqualFold(g.ClientID, clientID) {
			continue
		}
		early := !g.polled.IsZero() && now.Sub(g.polled) < s.cfg.deviceInterval
		g.polled = now
		switch {
		case !now.Before(g.Expires):
			return deviceGrant{}, codeDeviceExpired
		case early && s.cfg.slowDown && !g.approved && !g.denied:
			return deviceGrant{}, codeSlowDown
		}
		return *g, 0
	}
	return deviceGrant{}, codeBadDeviceCode
}

// remove reports whether the code was still there.
func (d *deviceStore) remove(secret string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := len(d.grants)
	d.grants = slices.DeleteFunc(d.grants, func(g *deviceGrant) bool { return g.secret == secret })
	return len(d.grants) < before
}

// devicePage is where a person approves a device code by hand.
func (x *exchange) devicePage() {
	p := page{Title: "Enter code", Ask: "user_code", Choice: "login_hint", Deny: true}
	for _, t := range x.server.directory.all() {
		p.Users = append(p.Users, t.Users()...)
	}
	if x.r.Method == http.MethodPost {
		p.Text = x.decideByHand()
	}
	x.choose(p, http.MethodPost)
}

func (x *exchange) decideByHand() string {
	var err error
	if x.param("deny") != "" {
		err = x.server.DenyDeviceCode(x.param("user_code"))
	} else {
		hint := x.param("login_hint")
		tenant := x.server.tenantOf(hint)
		if tenant == nil || tenant.user(hint) == nil {
			return "There is no user " + hint + "."
		}
		x.record.UserID = tenant.user(hint).ObjectID
		err = x.server.ApproveDeviceCode(x.param("user_code"), tenant.user(hint))
	}
	if err != nil {
		return err.Error()
	}
	return "Done: you can close this page and go back to the device."
}
