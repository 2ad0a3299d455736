package fakeentra

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/goccy/go-yaml"
	"github.com/google/uuid"
)

// Config describes what a server's directory holds from the start. Everything
// that has an ID gets a random one where none is given, so that a file needs to
// name only what a test depends on:
//
//	tenants:
//	  - id: 6497c918-11ad-41e7-1b0f-7c518a87d0b0
//	    domain: contoso.onmicrosoft.com
//	    apps:
//	      - name: orders
//	        client-id: 11111111-2222-3333-4444-555555555555
//	        secrets:
//	          - value: fake-secret-orders
//	            expires: 2030-01-01T00:00:00Z
//	        certificates:
//	          - file: orders.pem
//	        federated-credentials:
//	          - name: cluster
//	            issuer: https://127.0.0.1:8443/cluster
//	            subject: system:serviceaccount:default:orders
//	        tokens:
//	          lifetime: 60m-90m
//	    managed-identities:
//	      - name: worker
//	    users:
//	      - name: Ada Lovelace
//	        password: fake-secret-ada
//	    groups:
//	      - name: readers
//	        members: [orders, ada.lovelace@contoso.onmicrosoft.com]
type Config struct {
	Tenants []TenantConfig `yaml:"tenants"`
}

// TenantConfig is a tenant. The first of a Config is the server's default tenant,
// unless WithTenant names another.
type TenantConfig struct {
	ID                string                   `yaml:"id"`
	Domain            string                   `yaml:"domain"`
	Apps              []AppConfig              `yaml:"apps"`
	ServicePrincipals []ServicePrincipalConfig `yaml:"service-principals"`
	ManagedIdentities []ManagedIdentityConfig  `yaml:"managed-identities"`
	Users             []UserConfig             `yaml:"users"`
	Groups            []GroupConfig            `yaml:"groups"`
}

// AppConfig is an application. It has the secrets that are listed, and none if
// none is.
type AppConfig struct {
	Name                 string                      `yaml:"name"`
	ClientID             string                      `yaml:"client-id"`
	ObjectID             string                      `yaml:"object-id"`
	Public               bool                        `yaml:"public"`
	RedirectURIs         []string                    `yaml:"redirect-uris"`
	Secrets              []SecretConfig              `yaml:"secrets"`
	Certificates         []CertificateConfig         `yaml:"certificates"`
	FederatedCredentials []FederatedCredentialConfig `yaml:"federated-credentials"`
	Tokens               TokenShapeConfig            `yaml:"tokens"`
	Defect               Defect                      `yaml:"defect"`
}

// ServicePrincipalConfig makes an application of an earlier tenant known in this
// one.
type ServicePrincipalConfig struct {
	ClientID string `yaml:"client-id"`
	ObjectID string `yaml:"object-id"`
}

// SecretConfig is a Secret. The zero Expires means never.
type SecretConfig struct {
	ID      string  `yaml:"id"`
	Value   string  `yaml:"value"`
	Expires Instant `yaml:"expires"`
}

// Instant is a date with its time, such as 2030-01-01T00:00:00Z.
type Instant struct{ time.Time }

// UnmarshalText reads RFC 3339.
func (i *Instant) UnmarshalText(text []byte) (err error) {
	if i.Time, err = time.Parse(time.RFC3339, string(text)); err != nil {
		return fmt.Errorf("expected a date like 2030-01-01T00:00:00Z, got %q", text)
	}
	return nil
}

// CertificateConfig is a certificate in PEM: in a file, relative to the
// configuration file, or in place. A key beside it is not read.
type CertificateConfig struct {
	File string `yaml:"file"`
	PEM  string `yaml:"pem"`
}

// FederatedCredentialConfig is a FederatedCredential; KeysFile is a JWK set,
// relative to the configuration file.
type FederatedCredentialConfig struct {
	Name     string `yaml:"name"`
	Issuer   string `yaml:"issuer"`
	Subject  string `yaml:"subject"`
	Audience string `yaml:"audience"`
	KeysFile string `yaml:"keys-file"`
}

// ManagedIdentityConfig is a ManagedIdentity.
type ManagedIdentityConfig struct {
	Name                 string                      `yaml:"name"`
	ClientID             string                      `yaml:"client-id"`
	ObjectID             string                      `yaml:"object-id"`
	ResourceID           string                      `yaml:"resource-id"`
	SystemAssigned       bool                        `yaml:"system-assigned"`
	FederatedCredentials []FederatedCredentialConfig `yaml:"federated-credentials"`
	Tokens               TokenShapeConfig            `yaml:"tokens"`
	Defect               Defect                      `yaml:"defect"`
}

// UserConfig is a User. The first user of a tenant with SignedIn has the browser's
// session.
type UserConfig struct {
	Name          string           `yaml:"name"`
	ObjectID      string           `yaml:"object-id"`
	PrincipalName string           `yaml:"principal-name"`
	Password      string           `yaml:"password"`
	Disabled      bool             `yaml:"disabled"`
	SignedIn      bool             `yaml:"signed-in"`
	Tokens        TokenShapeConfig `yaml:"tokens"`
	Defect        Defect           `yaml:"defect"`
}

// GroupConfig is a Group. A member is named by its object ID, a user by the
// principal name, anything else by its name.
type GroupConfig struct {
	Name     string   `yaml:"name"`
	ObjectID string   `yaml:"object-id"`
	Members  []string `yaml:"members"`
}

// TokenShapeConfig is a TokenShape.
type TokenShapeConfig struct {
	Lifetime  Lifetime       `yaml:"lifetime"`
	ExpiresIn time.Duration  `yaml:"expires-in"`
	RefreshIn time.Duration  `yaml:"refresh-in"`
	Claims    map[string]any `yaml:"claims"`
}

// UnmarshalText reads a lifetime such as "60m" or "60m-90m".
func (l *Lifetime) UnmarshalText(text []byte) error {
	low, high, isRange := strings.Cut(string(text), "-")
	if !isRange {
		high = low
	}
	var err [2]error
	l.Min, err[0] = time.ParseDuration(strings.TrimSpace(low))
	l.Max, err[1] = time.ParseDuration(strings.TrimSpace(high))
	if errors.Join(err[:]...) != nil {
		return fmt.Errorf("expected a lifetime like 60m or 60m-90m, got %q", text)
	}
	return l.check()
}

// LoadConfig reads a Config from a YAML file. A key that there is not, or a value
// of the wrong type, is an error that names it with its line. Whether the values
// make sense is found out by Start.
func LoadConfig(path string) (Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("fakeentra: read the configuration: %w", err)
	}
	c, err := ParseConfig(data)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	c.resolve(filepath.Dir(path))
	return c, nil
}

// ParseConfig is LoadConfig for a configuration that is no file; relative file
// names in it are relative to the working directory.
func ParseConfig(data []byte) (Config, error) {
	var c Config
	err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(&c)
	if err != nil && !errors.Is(err, io.EOF) { // an empty file is an empty configuration
		return Config{}, fmt.Errorf("fakeentra: configuration: %s", yaml.FormatError(err, false, true))
	}
	return c, nil
}

func (c *Config) resolve(folder string) {
	at := func(name *string) {
		if *name != "" && !filepath.IsAbs(*name) {
			*name = filepath.Join(folder, *name)
		}
	}
	for i := range c.Tenants {
		for a := range c.Tenants[i].Apps {
			app := &c.Tenants[i].Apps[a]
			for n := range app.Certificates {
				at(&app.Certificates[n].File)
			}
			for n := range app.FederatedCredentials {
				at(&app.FederatedCredentials[n].KeysFile)
			}
		}
		for m := range c.Tenants[i].ManagedIdentities {
			credentials := c.Tenants[i].ManagedIdentities[m].FederatedCredentials
			for n := range credentials {
				at(&credentials[n].KeysFile)
			}
		}
	}
}

// WithConfig fills the server's directory. Start returns an error for a
// configuration that makes no sense.
func WithConfig(directory Config) Option { return func(c *config) { c.directory = directory } }

// populate makes the default tenant and whatever the configuration describes.
func (s *Server) populate() error {
	all := s.cfg.directory.Tenants
	if len(all) == 0 || !describes(all, s.cfg.tenantID) {
		t, err := s.directory.add(s, s.cfg.tenantID, "")
		if err != nil {
			return err
		}
		s.tenant = t
	}
	for i, described := range all {
		id := described.ID
		if id == "" && i == 0 && s.tenant == nil {
			id = s.cfg.tenantID
		}
		t, err := s.addTenant(id, described)
		if err != nil {
			return fmt.Errorf("fakeentra: configuration: tenant %d: %w", i+1, err)
		}
		if t.ID == s.cfg.tenantID {
			s.tenant = t
		}
	}
	return nil
}

// describes tells whether the default tenant is among the described ones: by its
// ID, or as the first if that has none of its own.
func describes(all []TenantConfig, id string) bool {
	if all[0].ID == "" {
		return true
	}
	for _, t := range all {
		if strings.EqualFold(t.ID, id) {
			return true
		}
	}
	return false
}

func (s *Server) addTenant(id string, described TenantConfig) (*Tenant, error) {
	id, err := parseGUID(cmp.Or(id, uuid.NewString()))
	if err != nil {
		return nil, err
	}
	t, err := s.directory.add(s, id, described.Domain)
	if err != nil {
		return nil, err
	}
	for _, app := range described.Apps {
		if err := t.addDescribedApp(app); err != nil {
			return nil, err
		}
	}
	for _, principal := range described.ServicePrincipals {
		if err := s.addDescribedPrincipal(t, principal); err != nil {
			return nil, err
		}
	}
	for _, identity := range described.ManagedIdentities {
		if err := t.addDescribedIdentity(identity); err != nil {
			return nil, err
		}
	}
	for _, user := range described.Users {
		if err := t.addDescribedUser(user); err != nil {
			return nil, err
		}
	}
	for _, group := range described.Groups {
		members := make([]string, len(group.Members))
		for i, name := range group.Members {
			if members[i] = t.principal(name); members[i] == "" {
				return nil, fmt.Errorf("group %q: expected the object ID, the principal name or the name of a member, got %q", group.Name, name)
			}
		}
		if _, err := t.AddGroup(group.Name, group.ObjectID, members...); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// principal is the object ID of whoever has that ID or name, or "".
func (t *Tenant) principal(name string) string {
	if id, err := parseGUID(name); err == nil {
		return id
	}
	if u := t.user(name); u != nil {
		return u.ObjectID
	}
	for _, app := range t.Apps() {
		if app.Name == name {
			return app.ObjectID
		}
	}
	for _, m := range t.ManagedIdentities() {
		if m.Name == name {
			return m.ObjectID
		}
	}
	return ""
}

func (t *Tenant) addDescribedApp(c AppConfig) error {
	what := fmt.Sprintf("app %q", c.Name)
	opts := []AppOption{WithoutClientSecret(), WithRedirectURIs(c.RedirectURIs...)}
	if c.ClientID != "" {
		opts = append(opts, WithClientID(c.ClientID))
	}
	if c.ObjectID != "" {
		opts = append(opts, WithObjectID(c.ObjectID))
	}
	if c.Public {
		opts = append(opts, WithPublicClient())
	}
	for _, s := range c.Secrets {
		opts = append(opts, WithSecret(Secret{ID: s.ID, Value: s.Value, Expires: s.Expires.Time}))
	}
	for _, described := range c.Certificates {
		cert, err := described.load()
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		opts = append(opts, WithAppCertificate(&Certificate{X509: cert}))
	}
	for _, described := range c.FederatedCredentials {
		credential, err := described.load()
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		opts = append(opts, WithFederatedCredential(credential))
	}
	app, err := t.AddApp(c.Name, opts...)
	if err != nil {
		return err
	}
	return app.describe(what, c.Tokens, c.Defect)
}

func (s *Server) addDescribedPrincipal(t *Tenant, c ServicePrincipalConfig) error {
	for _, other := range s.directory.all() {
		if app := other.app(c.ClientID); app != nil {
			_, err := t.AddServicePrincipal(app, c.ObjectID)
			return err
		}
	}
	return fmt.Errorf("service principal: expected the client ID of an app in an earlier tenant, got %q", c.ClientID)
}

func (t *Tenant) addDescribedIdentity(c ManagedIdentityConfig) error {
	var opts []ManagedIdentityOption
	if c.ClientID != "" {
		opts = append(opts, WithIdentityClientID(c.ClientID))
	}
	if c.ObjectID != "" {
		opts = append(opts, WithIdentityObjectID(c.ObjectID))
	}
	if c.ResourceID != "" {
		opts = append(opts, WithIdentityResourceID(c.ResourceID))
	}
	if c.SystemAssigned {
		opts = append(opts, WithSystemAssigned())
	}
	m, err := t.AddManagedIdentity(c.Name, opts...)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("managed identity %q", c.Name)
	for _, described := range c.FederatedCredentials {
		credential, err := described.load()
		if err == nil {
			err = m.AddFederatedCredential(credential)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return m.describe(what, c.Tokens, c.Defect)
}

func (t *Tenant) addDescribedUser(c UserConfig) error {
	var opts []UserOption
	if c.ObjectID != "" {
		opts = append(opts, WithUserObjectID(c.ObjectID))
	}
	if c.PrincipalName != "" {
		opts = append(opts, WithPrincipalName(c.PrincipalName))
	}
	if c.Password != "" {
		opts = append(opts, WithPassword(c.Password))
	}
	u, err := t.AddUser(c.Name, opts...)
	if err != nil {
		return err
	}
	u.SetDisabled(c.Disabled)
	if c.SignedIn && t.sessionUserSet() == nil {
		if err := t.SignIn(u); err != nil {
			return err
		}
	}
	return u.describe(fmt.Sprintf("user %q", c.Name), c.Tokens, c.Defect)
}

// describe shapes a principal's tokens as the configuration says.
func (p *tokenShaping) describe(what string, c TokenShapeConfig, d Defect) error {
	if err := d.check(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	p.SetDefect(d)
	if c.Lifetime == (Lifetime{}) && c.ExpiresIn == 0 && c.RefreshIn == 0 && len(c.Claims) == 0 {
		return nil
	}
	if err := p.SetTokenShape(TokenShape(c)); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (c CertificateConfig) load() (*x509.Certificate, error) {
	data, where := []byte(c.PEM), "pem"
	if c.File != "" {
		var err error
		if data, err = os.ReadFile(c.File); err != nil {
			return nil, fmt.Errorf("read a certificate: %w", err)
		}
		where = c.File
	}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil, fmt.Errorf("%s: expected a certificate in PEM, got none", where)
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		return cert, nil
	}
}

func (c FederatedCredentialConfig) load() (FederatedCredential, error) {
	f := FederatedCredential{Name: c.Name, Issuer: c.Issuer, Subject: c.Subject, Audience: c.Audience}
	if c.KeysFile == "" {
		return f, nil
	}
	data, err := os.ReadFile(c.KeysFile)
	if err != nil {
		return f, fmt.Errorf("read the keys of federated credential %q: %w", c.Name, err)
	}
	f.Keys = &jose.JSONWebKeySet{}
	if err := json.Unmarshal(data, f.Keys); err != nil {
		return f, fmt.Errorf("%s: expected a JWK set: %w", c.KeysFile, err)
	}
	return f, nil
}
