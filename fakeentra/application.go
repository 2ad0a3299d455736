package fakeentra

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// App is an application together with its service principal in one tenant. Its
// fields are set when it is registered and must not be changed.
type App struct {
	// Name is for people only.
	Name string
	// TenantID is the GUID of the tenant that the service principal is in.
	TenantID string
	// ClientID (the application ID) identifies the application when it signs in.
	ClientID string
	// ClientSecret is the application's password, the first of its secrets; empty if
	// it was registered without any.
	ClientSecret string
	// ObjectID is the object ID of the service principal: the oid claim of its
	// tokens and its username at the cache. It differs from ClientID.
	ObjectID string

	tokenShaping
	*application

	secretless bool
}

// application is what all service principals of an application share.
type application struct {
	credentials
	federation
	redirectURIs []string
	public       bool
}

// AppOption fixes something about an application that is random otherwise, or
// adds to it.
type AppOption func(*App)

// WithClientID sets the client ID, a GUID.
func WithClientID(id string) AppOption { return func(a *App) { a.ClientID = id } }

// WithObjectID sets the object ID of the service principal, a GUID.
func WithObjectID(id string) AppOption { return func(a *App) { a.ObjectID = id } }

// WithClientSecret sets the client secret, which never expires; WithSecret adds
// one that does.
func WithClientSecret(secret string) AppOption {
	return func(a *App) { a.ClientSecret, a.secretless = secret, false }
}

// WithoutClientSecret registers the application without the random secret that it
// gets otherwise: for one that signs in with a certificate or a federated
// credential, for a public client, or for one with only secrets that expire.
func WithoutClientSecret() AppOption { return func(a *App) { a.secretless = true } }

// WithRedirectURIs sets where authorization codes may be sent. Default:
// "http://localhost", for programs on the user's machine. A loopback address
// stands for itself with any port ("Redirect URI (reply URL) restrictions", Entra
// documentation); anything else must be named exactly.
func WithRedirectURIs(uris ...string) AppOption {
	return func(a *App) { a.redirectURIs = append(a.redirectURIs, uris...) }
}

// WithPublicClient lets the application sign users in without a secret
// ("Allow public client flows"). An application without this option is refused
// with AADSTS7000218 when it brings no credential.
func WithPublicClient() AppOption { return func(a *App) { a.public = true } }

// WithAppTokenShape shapes the application's tokens; see App.SetTokenShape.
// AddApp returns an error for a shape that makes no sense.
func WithAppTokenShape(shape TokenShape) AppOption {
	return func(a *App) { a.addLater(func() error { return a.SetTokenShape(shape) }) }
}

// WithSecret gives the application a further secret; see App.AddSecret.
func WithSecret(s Secret) AppOption {
	return func(a *App) {
		a.addLater(func() error { _, err := a.AddSecret(s); return err })
	}
}

// WithAppCertificate gives the application a certificate; see App.AddCertificate.
func WithAppCertificate(c *Certificate) AppOption {
	return func(a *App) { a.addLater(func() error { return a.AddCertificate(c.X509) }) }
}

// WithFederatedCredential gives the application a federated credential; see
// App.AddFederatedCredential.
func WithFederatedCredential(f FederatedCredential) AppOption {
	return func(a *App) { a.addLater(func() error { return a.AddFederatedCredential(f) }) }
}

// AddApp registers an application. IDs and secret are random unless an option
// sets them. It returns an error for an ID that is not a GUID, an empty secret,
// an ID that another object of the tenant has already, and for whatever an option
// adds that makes no sense.
func (t *Tenant) AddApp(name string, opts ...AppOption) (*App, error) {
	app := &App{
		Name:         name,
		TenantID:     t.ID,
		ClientID:     uuid.NewString(),
		ObjectID:     uuid.NewString(),
		ClientSecret: newSecret(),
		application:  &application{},
	}
	for _, opt := range opts {
		opt(app)
	}
	if app.ClientSecret == "" {
		return nil, fmt.Errorf("fakeentra: client secret of app %q: expected some text, got none; leave the option out for a random secret", name)
	}
	if app.secretless {
		app.ClientSecret = ""
	} else if _, err := app.AddSecret(Secret{Value: app.ClientSecret}); err != nil {
		return nil, err
	}
	if err := app.runLater(); err != nil {
		return nil, fmt.Errorf("fakeentra: app %q: %w", name, err)
	}
	if app.ClientSecret == "" {
		app.ClientSecret = app.firstSecret()
	}
	if len(app.redirectURIs) == 0 {
		app.redirectURIs = []string{"http://localhost"}
	}
	for _, uri := range app.redirectURIs {
		if err := checkRedirectURI(uri); err != nil {
			return nil, fmt.Errorf("fakeentra: app %q: %w", name, err)
		}
	}
	return app, t.addApp(app)
}

func (t *Tenant) addApp(app *App) error {
	var err error
	if app.ClientID, err = parseGUID(app.ClientID); err != nil {
		return fmt.Errorf("fakeentra: client ID of app %q: %w", app.Name, err)
	}
	if app.ObjectID, err = parseGUID(app.ObjectID); err != nil {
		return fmt.Errorf("fakeentra: object ID of app %q: %w", app.Name, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.take(fmt.Sprintf("app %q", app.Name), app.ClientID, app.ObjectID); err != nil {
		return err
	}
	t.apps[app.ClientID] = app
	return nil
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

// AddServicePrincipal makes an application of another tenant known in this one,
// as an administrator's consent does: under the same client ID and with the same
// credentials, but with an object ID of its own; an empty objectID means a random
// one. It returns an error for an ID that is not a GUID or is taken, and if the
// tenant has the application already.
func (t *Tenant) AddServicePrincipal(app *App, objectID string) (*App, error) {
	if objectID == "" {
		objectID = uuid.NewString()
	}
	here := &App{
		Name:         app.Name,
		TenantID:     t.ID,
		ClientID:     app.ClientID,
		ClientSecret: app.ClientSecret,
		ObjectID:     objectID,
		application:  app.application,
	}
	if err := t.addApp(here); err != nil {
		return nil, err
	}
	return here, nil
}

func (t *Tenant) app(clientID string) *App {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if app, ok := t.apps[clientID]; ok { // as nearly all clients write it
		return app
	}
	return t.apps[strings.ToLower(clientID)]
}

// Apps lists the service principals of the tenant by name.
func (t *Tenant) Apps() []*App {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.SortedFunc(maps.Values(t.apps), func(a, b *App) int { return strings.Compare(a.Name, b.Name) })
}

// AddApp registers an application in the default tenant; see Tenant.AddApp.
func (s *Server) AddApp(name string, opts ...AppOption) (*App, error) {
	return s.tenant.AddApp(name, opts...)
}

// RegisterApp registers an application in the default tenant; see
// Tenant.RegisterApp.
func (s *Server) RegisterApp(name string, opts ...AppOption) *App {
	return s.tenant.RegisterApp(name, opts...)
}
