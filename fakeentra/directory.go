package fakeentra

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
)

// secretPrefix marks every secret made here as worthless, for people and for
// secret scanners.
const secretPrefix = "fake-secret-"

// Tenant is one directory of the issuer.
type Tenant struct {
	// ID is the tenant's GUID.
	ID string

	server *Server
	mu     sync.RWMutex
	apps   map[string]*App // by client ID
}

// Authority is the URL that clients of this tenant are configured with.
func (t *Tenant) Authority() string { return t.server.URL() + "/" + t.ID }

// App is an application and its service principal in one tenant. Its fields are
// set when it is registered and must not be changed.
type App struct {
	// Name is for people only.
	Name string
	// TenantID is the GUID of the tenant the application is registered in.
	TenantID string
	// ClientID (the application ID) identifies the application when it signs in.
	ClientID string
	// ClientSecret is the application's password.
	ClientSecret string
	// ObjectID is the object ID of the service principal: the oid claim of its
	// tokens and its username at the cache. It differs from ClientID.
	ObjectID string

	defect atomic.Pointer[Defect]
}

// SetDefect makes every token issued to the application from now on wrong in
// exactly one way; DefectNone ends that. It panics on a value that is not one of
// this package's constants; ParseDefect checks a name that came from outside.
func (a *App) SetDefect(d Defect) {
	if err := d.check(); err != nil {
		panic(err)
	}
	a.defect.Store(&d)
}

// Defect tells what is wrong with the tokens that the application is issued.
func (a *App) Defect() Defect {
	if d := a.defect.Load(); d != nil {
		return *d
	}
	return DefectNone
}

// AppOption fixes something about an application that is random otherwise.
type AppOption func(*App)

// WithClientID sets the client ID, a GUID.
func WithClientID(id string) AppOption { return func(a *App) { a.ClientID = id } }

// WithObjectID sets the object ID of the service principal, a GUID.
func WithObjectID(id string) AppOption { return func(a *App) { a.ObjectID = id } }

// WithClientSecret sets the client secret.
func WithClientSecret(secret string) AppOption { return func(a *App) { a.ClientSecret = secret } }

// AddApp registers an application. IDs and secret are random unless an option
// sets them. It returns an error for an ID that is not a GUID, an empty secret,
// and an ID that another application of the tenant has already.
func (t *Tenant) AddApp(name string, opts ...AppOption) (*App, error) {
	app := &App{
		Name:         name,
		TenantID:     t.ID,
		ClientID:     uuid.NewString(),
		ObjectID:     uuid.NewString(),
		ClientSecret: newSecret(),
	}
	for _, opt := range opts {
		opt(app)
	}
	var err error
	if app.ClientID, err = parseGUID(app.ClientID); err != nil {
		return nil, fmt.Errorf("fakeentra: client ID of app %q: %w", name, err)
	}
	if app.ObjectID, err = parseGUID(app.ObjectID); err != nil {
		return nil, fmt.Errorf("fakeentra: object ID of app %q: %w", name, err)
	}
	if app.ClientSecret == "" {
		return nil, fmt.Errorf("fakeentra: client secret of app %q: expected some text, got none; leave the option out for a random secret", name)
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	for _, other := range t.apps {
		if other.ClientID == app.ClientID {
			return nil, fmt.Errorf("fakeentra: app %q: client ID %s is taken by app %q of tenant %s; choose another", name, app.ClientID, other.Name, t.ID)
		}
		if other.ObjectID == app.ObjectID {
			return nil, fmt.Errorf("fakeentra: app %q: object ID %s is taken by app %q of tenant %s; choose another", name, app.ObjectID, other.Name, t.ID)
		}
	}
	t.apps[app.ClientID] = app
	return app, nil
}

// RegisterApp is AddApp for tests: without options it cannot fail, and with
// options that AddApp refuses it panics.
func (t *Tenant) RegisterApp(name string, opts ...AppOption) *App {
	app, err := t.AddApp(name, opts...)
	if err != nil {
		panic(err)
	}
	return app
}

func (t *Tenant) app(clientID string) *App {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.apps[strings.ToLower(clientID)]
}

// directory holds the tenants of a server.
type directory struct {
	mu      sync.RWMutex
	tenants map[string]*Tenant // by ID
}

func (d *directory) add(s *Server, id string) *Tenant {
	t := &Tenant{ID: id, server: s, apps: map[string]*App{}}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tenants == nil {
		d.tenants = map[string]*Tenant{}
	}
	d.tenants[id] = t
	return t
}

func (d *directory) tenant(id string) *Tenant {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.tenants[strings.ToLower(id)]
}

// AddTenant adds a tenant with a random ID beside the default one. All tenants
// share the issuer's signing keys, as in the real service, so a token of one
// tenant differs from a token of another only by its claims.
func (s *Server) AddTenant() *Tenant { return s.directory.add(s, uuid.NewString()) }

// AddApp registers an application in the default tenant; see Tenant.AddApp.
func (s *Server) AddApp(name string, opts ...AppOption) (*App, error) {
	return s.tenant.AddApp(name, opts...)
}

// RegisterApp registers an application in the default tenant; see
// Tenant.RegisterApp.
func (s *Server) RegisterApp(name string, opts ...AppOption) *App {
	return s.tenant.RegisterApp(name, opts...)
}

// parseGUID takes the one spelling that Entra prints, in any case, and returns it
// in lower case. uuid.Parse alone also takes braces and URNs.
func parseGUID(s string) (string, error) {
	const example = "6497c918-11ad-41e7-1b0f-7c518a87d0b0"
	if len(s) == len(example) {
		if id, err := uuid.Parse(s); err == nil {
			return id.String(), nil
		}
	}
	return "", fmt.Errorf("expected a GUID like %s, got %q", example, s)
}

func newSecret() string { return secretPrefix + randomString(30) }

// randomString returns n random bytes in the alphabet of JWTs and URLs.
func randomString(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: crypto/rand aborts the program instead
	return base64.RawURLEncoding.EncodeToString(b)
}
