package fakeentra

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
)

// secretPrefix marks every secret made here as worthless, for people and for
// secret scanners.
const secretPrefix = "fake-secret-"

// Tenant is one directory of the issuer.
type Tenant struct {
	// ID is the tenant's GUID.
	ID string
	// Domain is the tenant's domain name. It stands for the ID in URLs, and its
	// users' names end in it.
	Domain string

	server *Server

	mu         sync.RWMutex
	taken      map[string]string // by GUID: what has it, in words
	apps       map[string]*App   // by client ID
	identities []*ManagedIdentity
	users      map[string]*User // by principal name in lower case
	groups     []*Group
	signedIn   *User
}

// Authority is the URL that clients of this tenant are configured with.
func (t *Tenant) Authority() string { return t.server.URL() + "/" + t.ID }

// free tells whether the GUIDs are unused in the tenant; t.mu must be held. what
// is in the name of whoever wants them. A client ID and an object ID are never the
// same, so that nothing works by taking one for the other.
func (t *Tenant) free(what string, ids ...string) error {
	for i, id := range ids {
		if other, ok := t.taken[id]; ok {
			return fmt.Errorf("fakeentra: %s: ID %s is taken by %s of tenant %s; choose another", what, id, other, t.ID)
		}
		if slices.Contains(ids[:i], id) {
			return fmt.Errorf("fakeentra: %s: expected different client and object IDs, got %s for both", what, id)
		}
	}
	return nil
}

func (t *Tenant) take(what string, ids ...string) error {
	if err := t.free(what, ids...); err != nil {
		return err
	}
	for _, id := range ids {
		t.taken[id] = what
	}
	return nil
}

// directory holds the tenants of a server.
type directory struct {
	mu      sync.RWMutex
	tenants map[string]*Tenant // by ID and by domain
}

// add adds a tenant; an empty domain is replaced by one made from the ID.
func (d *directory) add(s *Server, id, domain string) (*Tenant, error) {
	if domain == "" {
		domain = "fake-" + id[:8] + ".onmicrosoft.com"
	}
	t := &Tenant{
		ID: id, Domain: strings.ToLower(domain), server: s,
		taken: map[string]string{}, apps: map[string]*App{}, users: map[string]*User{},
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tenants == nil {
		d.tenants = map[string]*Tenant{}
	}
	for _, name := range []string{t.ID, t.Domain} {
		if other, ok := d.tenants[name]; ok {
			return nil, fmt.Errorf("fakeentra: tenant %s: %q is the name of tenant %s already; choose another", id, name, other.ID)
		}
	}
	d.tenants[t.ID], d.tenants[t.Domain] = t, t
	return t, nil
}

func (d *directory) tenant(name string) *Tenant {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.tenants[strings.ToLower(name)]
}

// all lists the tenants in no particular order.
func (d *directory) all() []*Tenant {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var tenants []*Tenant
	for name, t := range d.tenants {
		if name == t.ID {
			tenants = append(tenants, t)
		}
	}
	return tenants
}

// AddTenant adds a tenant with a random ID beside the default one. All tenants
// share the issuer's signing keys, as in the real service, so a token of one
// tenant differs from a token of another only by its claims.
func (s *Server) AddTenant() *Tenant {
	for {
		// Fails only if the new domain, made of a part of the ID, is taken by chance.
		if t, err := s.directory.add(s, uuid.NewString(), ""); err == nil {
			return t
		}
	}
}

// DefaultTenant is the tenant in which the Server's own methods register things.
func (s *Server) DefaultTenant() *Tenant { return s.tenant }

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
