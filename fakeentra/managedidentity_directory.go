package fakeentra

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// ManagedIdentity is an identity that Azure hands to the machine a program runs
// on. It has no secret: its tokens come from the machine's own endpoint, or, for
// a user-assigned one with a federated credential, from the token endpoint.
// Its fields are set when it is registered and must not be changed.
type ManagedIdentity struct {
	// Name is the resource's name.
	Name string
	// TenantID is the GUID of the tenant it belongs to.
	TenantID string
	// ClientID selects a user-assigned identity (client_id) and is the appid of its
	// tokens.
	ClientID string
	// ObjectID is the object ID of its service principal: the oid of its tokens and
	// its username at the cache.
	ObjectID string
	// ResourceID is its Azure resource ID (mi_res_id, msi_res_id), or, if it is
	// system-assigned, that of the machine it belongs to. It is the xms_mirid claim
	// of its tokens.
	ResourceID string
	// SystemAssigned tells it from a user-assigned identity. A server has at most
	// one of them, because it stands for one machine.
	SystemAssigned bool

	tokenShaping
	federation
}

// ManagedIdentityOption fixes something about a managed identity that is random
// otherwise.
type ManagedIdentityOption func(*ManagedIdentity)

// WithIdentityClientID sets the client ID, a GUID.
func WithIdentityClientID(id string) ManagedIdentityOption {
	return func(m *ManagedIdentity) { m.ClientID = id }
}

// WithIdentityObjectID sets the object ID, a GUID.
func WithIdentityObjectID(id string) ManagedIdentityOption {
	return func(m *ManagedIdentity) { m.ObjectID = id }
}

// WithIdentityResourceID sets the resource ID, such as
// "/subscriptions/…/providers/Microsoft.ManagedIdentity/userAssignedIdentities/orders".
func WithIdentityResourceID(id string) ManagedIdentityOption {
	return func(m *ManagedIdentity) { m.ResourceID = id }
}

// WithSystemAssigned makes it the machine's own identity instead of a
// user-assigned one.
func WithSystemAssigned() ManagedIdentityOption {
	return func(m *ManagedIdentity) { m.SystemAssigned = true }
}

// AddManagedIdentity registers a managed identity, user-assigned unless an option
// says otherwise. It returns an error for an ID that is not a GUID, a resource ID
// that is not a path, an ID that another object of the tenant has already, and a
// second system-assigned identity.
func (t *Tenant) AddManagedIdentity(name string, opts ...ManagedIdentityOption) (*ManagedIdentity, error) {
	m := &ManagedIdentity{Name: name, TenantID: t.ID, ClientID: uuid.NewString(), ObjectID: uuid.NewString()}
	for _, opt := range opts {
		opt(m)
	}
	what := fmt.Sprintf("managed identity %q", name)
	var err error
	if m.ClientID, err = parseGUID(m.ClientID); err != nil {
		return nil, fmt.Errorf("fakeentra: client ID of %s: %w", what, err)
	}
	if m.ObjectID, err = parseGUID(m.ObjectID); err != nil {
		return nil, fmt.Errorf("fakeentra: object ID of %s: %w", what, err)
	}
	if m.ResourceID == "" {
		m.ResourceID = resourceID(m)
	}
	if !strings.HasPrefix(m.ResourceID, "/") {
		return nil, fmt.Errorf("fakeentra: resource ID of %s: expected a path like %s, got %q", what, resourceID(m), m.ResourceID)
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	for _, other := range t.identities {
		if m.SystemAssigned && other.SystemAssigned {
			return nil, fmt.Errorf("fakeentra: %s: tenant %s has the system-assigned identity %q already; make this one user-assigned", what, t.ID, other.Name)
		}
		if strings.EqualFold(other.ResourceID, m.ResourceID) {
			return nil, fmt.Errorf("fakeentra: %s: resource ID %s is taken by managed identity %q; choose another", what, m.ResourceID, other.Name)
		}
	}
	if err := t.take(what, m.ClientID, m.ObjectID); err != nil {
		return nil, err
	}
	t.identities = append(t.identities, m)
	return m, nil
}

// resourceID is a resource ID of the usual form, in a subscription that nobody has.
func resourceID(m *ManagedIdentity) string {
	const group = "/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/fakeentra/providers/"
	if m.SystemAssigned {
		return group + "Microsoft.Compute/virtualMachines/" + m.Name
	}
	return group + "Microsoft.ManagedIdentity/userAssignedIdentities/" + m.Name
}

// RegisterManagedIdentity is AddManagedIdentity for tests: it panics where that
// returns an error, which it cannot without options unless the name is taken.
func (t *Tenant) RegisterManagedIdentity(name string, opts ...ManagedIdentityOption) *ManagedIdentity {
	m, err := t.AddManagedIdentity(name, opts...)
	if err != nil {
		panic(err)
	}
	return m
}

// AddManagedIdentity registers a managed identity in the default tenant; see
// Tenant.AddManagedIdentity.
func (s *Server) AddManagedIdentity(name string, opts ...ManagedIdentityOption) (*ManagedIdentity, error) {
	return s.tenant.AddManagedIdentity(name, opts...)
}

// RegisterManagedIdentity registers a managed identity in the default tenant; see
// Tenant.RegisterManagedIdentity.
func (s *Server) RegisterManagedIdentity(name string, opts ...ManagedIdentityOption) *ManagedIdentity {
	return s.tenant.RegisterManagedIdentity(name, opts...)
}

// ManagedIdentities lists the managed identities of the tenant, oldest first.
func (t *Tenant) ManagedIdentities() []*ManagedIdentity {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Clone(t.identities)
}

// managedIdentity finds one by its client ID.
func (t *Tenant) managedIdentity(clientID string) *ManagedIdentity {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, m := range t.identities {
		if strings.EqualFold(m.ClientID, clientID) {
			return m
		}
	}
	return nil
}

// issueToManagedIdentity makes a token as the machine's endpoint hands it out: of
// 24 hours unless the identity's shape says otherwise. It is a new one each time;
// the cache that the real endpoint keeps is not here.
func (s *Server) issueToManagedIdentity(m *ManagedIdentity, audience string) (issuedToken, error) {
	return s.issue(ticketFor(m, audience))
}

// ticketFor describes a token for a managed identity. appidacr is "2", because
// the platform signs in with a certificate (Azure documentation, "How managed
// identities for Azure resources work with Azure virtual machines"); xms_mirid is
// the resource ID (MicrosoftDocs/azure-docs#32131).
func ticketFor(m *ManagedIdentity, audience string) ticket {
	return ticket{
		tenantID:   m.TenantID,
		clientID:   m.ClientID,
		objectID:   m.ObjectID,
		clientAuth: authByCertificate,
		audience:   audience,
		resourceID: m.ResourceID,
		defect:     m.Defect(),
		shape:      m.shape(),
		lifetime:   ManagedIdentityLifetime,
	}
}
