package fakeentra

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// User is a person who can sign in, through an application.
type User struct {
	// Name is the display name, the name claim.
	Name string
	// TenantID is the GUID of the user's tenant.
	TenantID string
	// ObjectID is the oid claim of the user's tokens and the username at the cache.
	ObjectID string
	// PrincipalName is what the user signs in with (UPN), such as
	// "ada@contoso.onmicrosoft.com".
	PrincipalName string
	// Password is for the username/password grant.
	Password string

	tokenShaping
	disabled atomic.Bool
	revoked  atomic.Int64 // Unix nanoseconds; grants made before are void
}

// UserOption fixes something about a user that has a default otherwise.
type UserOption func(*User)

// WithUserObjectID sets the object ID, a GUID. Default: random.
func WithUserObjectID(id string) UserOption { return func(u *User) { u.ObjectID = id } }

// WithPrincipalName sets the name to sign in with. Default: the name in lower
// case with dots for spaces, at the tenant's domain.
func WithPrincipalName(upn string) UserOption { return func(u *User) { u.PrincipalName = upn } }

// WithPassword sets the password. Default: random.
func WithPassword(password string) UserOption { return func(u *User) { u.Password = password } }

// SetDisabled blocks the user from signing in (AADSTS50057), or ends that. Tokens
// that were issued stay good.
func (u *User) SetDisabled(disabled bool) { u.disabled.Store(disabled) }

// Disabled tells whether the user is blocked from signing in.
func (u *User) Disabled() bool { return u.disabled.Load() }

// AddUser registers a user. It returns an error for an ID that is not a GUID, a
// principal name that is no address, an empty password, and for an ID or a
// principal name that is taken.
func (t *Tenant) AddUser(name string, opts ...UserOption) (*User, error) {
	u := &User{Name: name, TenantID: t.ID, ObjectID: uuid.NewString(), Password: newSecret()}
	u.PrincipalName = strings.ToLower(strings.Join(strings.Fields(name), ".")) + "@" + t.Domain
	for _, opt := range opts {
		opt(u)
	}
	var err error
	if u.ObjectID, err = parseGUID(u.ObjectID); err != nil {
		return nil, fmt.Errorf("fakeentra: object ID of user %q: %w", name, err)
	}
	local, domain, _ := strings.Cut(u.PrincipalName, "@")
	if local == "" || domain == "" || strings.ContainsAny(u.PrincipalName, " \t") {
		return nil, fmt.Errorf("fakeentra: principal name of user %q: expected one like ada@%s, got %q", name, t.Domain, u.PrincipalName)
	}
	if u.Password == "" {
		return nil, fmt.Errorf("fakeentra: password of user %q: expected some text, got none; leave the option out for a random one", name)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	key := strings.ToLower(u.PrincipalName)
	if other, ok := t.users[key]; ok {
		return nil, fmt.Errorf("fakeentra: user %q: principal name %s is taken by user %q; choose another", name, u.PrincipalName, other.Name)
	}
	if err := t.take(fmt.Sprintf("user %q", name), u.ObjectID); err != nil {
		return nil, err
	}
	t.users[key] = u
	return u, nil
}

// RegisterUser is AddUser for tests: it panics where that returns an error.
func (t *Tenant) RegisterUser(name string, opts ...UserOption) *User {
	u, err := t.AddUser(name, opts...)
	if err != nil {
		panic(err)
	}
	return u
}

// AddUser registers a user in the default tenant; see Tenant.AddUser.
func (s *Server) AddUser(name string, opts ...UserOption) (*User, error) {
	return s.tenant.AddUser(name, opts...)
}

// RegisterUser registers a user in the default tenant; see Tenant.RegisterUser.
func (s *Server) RegisterUser(name string, opts ...UserOption) *User {
	return s.tenant.RegisterUser(name, opts...)
}

// SignIn makes the user the one whose session the browser has: who the authorize
// endpoint signs in when a request names nobody. nil ends that. Default: the
// tenant's only user, if it has just one.
func (t *Tenant) SignIn(u *User) error {
	if u != nil && u.TenantID != t.ID {
		return fmt.Errorf("fakeentra: sign in user %q: expected a user of tenant %s, got one of %s", u.Name, t.ID, u.TenantID)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.signedIn = u
	return nil
}

// sessionUser is whom a request that names nobody signs in.
func (t *Tenant) sessionUser() *User {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.signedIn == nil && len(t.users) == 1 {
		for _, u := range t.users {
			return u
		}
	}
	return t.signedIn
}

// sessionUserSet is the user whom SignIn has set, or nil.
func (t *Tenant) sessionUserSet() *User {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.signedIn
}

func (t *Tenant) user(principalName string) *User {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.users[strings.ToLower(principalName)]
}

func (t *Tenant) userByID(objectID string) *User {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, u := range t.users {
		if u.ObjectID == objectID {
			return u
		}
	}
	return nil
}

// Users lists the users of the tenant by principal name.
func (t *Tenant) Users() []*User {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.SortedFunc(maps.Values(t.users), func(a, b *User) int { return strings.Compare(a.PrincipalName, b.PrincipalName) })
}

// RevokeSessions voids every code and refresh token that the user was given until
// now (AADSTS50173); access tokens stay good.
func (s *Server) RevokeSessions(u *User) { u.revoked.Store(s.now().UnixNano()) }

// revokedAfter tells whether a grant made at that time has been voided.
func (u *User) revokedAfter(granted time.Time) bool {
	at := u.revoked.Load()
	return at != 0 && granted.UnixNano() <= at
}

// Group is a set of principals. It is nothing that can sign in: it has no
// credential and no token carries its ID as oid, so it is never a username at
// the cache.
type Group struct {
	// Name is for people only.
	Name string
	// TenantID is the GUID of the group's tenant.
	TenantID string
	// ObjectID is what the groups claim of its members' tokens has, with
	// WithGroupsClaim.
	ObjectID string

	members map[string]bool // object IDs, guarded by the tenant's mu
}

// AddGroup registers a group with the given members, by object ID. An empty
// objectID means a random one. It returns an error for an ID that is not a GUID
// or is taken.
func (t *Tenant) AddGroup(name, objectID string, members ...string) (*Group, error) {
	if objectID == "" {
		objectID = uuid.NewString()
	}
	g := &Group{Name: name, TenantID: t.ID, members: map[string]bool{}}
	var errs []error
	parse := func(id string) string {
		parsed, err := parseGUID(id)
		if err != nil {
			errs = append(errs, err)
		}
		return parsed
	}
	g.ObjectID = parse(objectID)
	for _, m := range members {
		g.members[parse(m)] = true
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("fakeentra: group %q: %w", name, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.take(fmt.Sprintf("group %q", name), g.ObjectID); err != nil {
		return nil, err
	}
	t.groups = append(t.groups, g)
	return g, nil
}

// AddGroup registers a group in the default tenant; see Tenant.AddGroup.
func (s *Server) AddGroup(name, objectID string, members ...string) (*Group, error) {
	return s.tenant.AddGroup(name, objectID, members...)
}

// groupsOf lists the IDs of the groups that a principal is in, oldest first.
func (t *Tenant) groupsOf(objectID string) []string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var ids []string
	for _, g := range t.groups {
		if g.members[objectID] {
			ids = append(ids, g.ObjectID)
		}
	}
	return ids
}
