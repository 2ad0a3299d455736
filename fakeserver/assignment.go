package fakeserver

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/entracache/entracache/fakeserver/internal/acl"
)

// Assignment is an access policy and whom it is assigned to: a Redis user, as
// the portal calls it. An object ID has at most one, which is documented for
// Azure Managed Redis (azure-docs
// articles/redis/configure-access-permissions.md) and for Azure Cache for Redis
// has no source.
type Assignment struct {
	// Name is what the management API calls the assignment; Assign and
	// AssignPolicy name it after the object ID.
	Name     string
	ObjectID string
	// Alias is the "user friendly name for object id" (azure-rest-api-specs,
	// objectIdAlias); see WithAliasesAsUsernames.
	Alias  string
	Policy Policy
}

// WithAliasesAsUsernames lets a client sign in with the alias of its assignment
// as the user name, and a token of the object ID as the password. Default the
// object ID is the only user name: the documentation names no other. The
// management API says of the alias that it "also represents username for token
// based authentication" (azure-rest-api-specs, objectIdAlias).
func WithAliasesAsUsernames() Option {
	return func(o *options) error { o.aliases = true; return nil }
}

// WithConnectionsCutOnPolicyChange closes the connections of an identity when
// its permissions change, by UpdatePolicy or by another assignment. Default they
// stay, and the new permissions apply to their next command, as in Redis. What
// Azure Cache for Redis does has no source; Azure Managed Redis updates the role
// "in place without disconnecting the user" (azure-docs
// articles/redis/configure-access-permissions.md).
func WithConnectionsCutOnPolicyChange() Option {
	return func(o *options) error { o.cutChangedPolicy = true; return nil }
}

// The rule for an assignment's name is that of the management API
// (azure-rest-api-specs, accessPolicyAssignmentName). Unlike a policy's name it
// has no spaces.
var assignmentName = regexp.MustCompile(`^([a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]|[a-zA-Z0-9])$`)

// CheckAssignmentName says what is wrong with the name of an assignment: it must
// have 3 to 63 letters, digits and hyphens, with a letter or digit at either
// end.
func CheckAssignmentName(name string) error {
	if n := len(name); n < shortestPolicyName || n > longestPolicyName {
		return fmt.Errorf("access policy assignment name %q: expected %d to %d characters, got %d", name, shortestPolicyName, longestPolicyName, n)
	}
	if !assignmentName.MatchString(name) {
		return fmt.Errorf("access policy assignment name %q: expected letters, digits and hyphens, with a letter or digit at either end", name)
	}
	return nil
}

// Assign gives a policy to an object ID: that of a service principal, a managed
// identity or a user. A policy that it has already is replaced, with effect on
// the next command of its live connections and at the EXEC of their open
// transactions; see also WithConnectionsCutOnPolicyChange. The error names the
// part of the permission string that is wrong.
//
// The object ID of a group gives its members nothing: "Microsoft Entra groups
// are not supported" (azure-docs articles/redis/entra-for-authentication.md, of
// Azure Managed Redis; of Azure Cache for Redis no source says either).
//
// Object IDs are compared without regard to case here, and exactly with a
// token's oid when a client signs in.
func (s *Server) Assign(objectID string, p Policy) error {
	return s.assign(Assignment{ObjectID: objectID, Policy: p}, false)
}

// AssignPolicy gives an object ID the policy of that name, a built-in one or one
// of AddPolicy; see Assign.
func (s *Server) AssignPolicy(objectID, name string) error {
	p, err := s.policyNamed(name)
	if err != nil {
		return err
	}
	return s.assign(Assignment{ObjectID: objectID, Policy: p}, true)
}

func (s *Server) policyNamed(name string) (Policy, error) {
	for _, p := range s.Policies() {
		if policyKey(p.Name) == policyKey(name) {
			return p, nil
		}
	}
	return Policy{}, fmt.Errorf("assign access policy: there is none of the name %q; Policies lists those there are, AddPolicy makes one", name)
}

// PutAssignment makes an assignment as the management API does, or changes the
// one of that name: a.Policy is found by its name, as in AssignPolicy, and its
// permissions need not be given. The error says that the name is wrong, that
// there is no such policy, that the assignment of that name is another object
// ID's, or that the object ID has an assignment of another name.
func (s *Server) PutAssignment(a Assignment) error {
	if err := CheckAssignmentName(a.Name); err != nil {
		return err
	}
	p, err := s.policyNamed(a.Policy.Name)
	if err != nil {
		return err
	}
	a.Policy = p
	return s.assign(a, true)
}

// checkObjectID says what is wrong with whom a policy is to be assigned to.
func checkObjectID(objectID string) error {
	if objectID == "" {
		return errors.New("assign access policy: expected an object ID, got an empty one")
	}
	if strings.EqualFold(objectID, defaultUser) {
		return fmt.Errorf("assign access policy: %q is the user of the access keys, expected an object ID", objectID)
	}
	return nil
}

func (s *Server) assign(a Assignment, byName bool) error {
	if err := checkObjectID(a.ObjectID); err != nil {
		return err
	}
	made, err := s.newGrant(a.ObjectID, a.Policy)
	if err != nil {
		return err
	}
	set := made.set.Load()
	g, changed, err := s.storeAssignment(a, byName, made)
	if err != nil {
		return err
	}
	if changed {
		s.policyChanged(g, set)
	}
	return nil
}

// storeAssignment keeps an assignment; changed says that live connections may
// have other permissions now.
func (s *Server) storeAssignment(a Assignment, byName bool, made *grant) (g *grant, changed bool, err error) {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	key := strings.ToLower(a.ObjectID)
	g = s.grants[key]
	if err := s.checkAssignment(a, g); err != nil {
		return nil, false, err
	}
	if g == nil {
		g = made
		s.grants[key] = g
	} else {
		changed = g.policy.Permissions != a.Policy.Permissions
		g.policy = a.Policy
		g.set.Store(made.set.Load())
	}
	g.byName = byName
	if a.Name != "" {
		g.name, g.alias = a.Name, a.Alias
	}
	s.record(Event{Kind: EventPolicyAssigned, User: a.ObjectID, Detail: fmt.Sprintf("access policy %q assigned: %s", a.Policy.Name, a.Policy.Permissions)})
	return g, changed, nil
}

// checkAssignment refuses an assignment whose names belong to another; own is
// what the object ID has already. stateMu is held.
func (s *Server) checkAssignment(a Assignment, own *grant) error {
	if a.Name == "" {
		return nil
	}
	if own != nil && !strings.EqualFold(own.name, a.Name) {
		return fmt.Errorf("assign access policy: %q has the assignment %q; remove that first, or change it", a.ObjectID, own.name)
	}
	for _, g := range s.grants {
		switch {
		case g == own:
		case strings.EqualFold(g.name, a.Name):
			return fmt.Errorf("assign access policy: the assignment %q is that of %q; choose another name, or remove it first", a.Name, g.objectID)
		case s.opts.aliases && a.Alias != "" && g.alias == a.Alias:
			return fmt.Errorf("assign access policy: the alias %q is that of %q; choose another", a.Alias, g.objectID)
		}
	}
	return nil
}

// objectIDOf is the object ID that a user name stands for.
func (s *Server) objectIDOf(user string) string {
	if !s.opts.aliases {
		return user
	}
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	for _, g := range s.grants {
		if g.alias != "" && g.alias == user {
			return g.objectID
		}
	}
	return user
}

// policyChanged lets a grant's new permissions have their effect on live
// connections.
func (s *Server) policyChanged(g *grant, set *acl.Set) {
	if s.opts.cutChangedPolicy {
		s.cut(ReasonPolicyChanged, func(c *connection) bool { return c.granted(g) })
		return
	}
	// Those that are subscribed to what is not allowed any more are closed, as
	// Redis does.
	s.cut(ReasonUnassigned, func(c *connection) bool { return c.granted(g) && c.holdsForbidden(set) })
}

// Unassign removes an object ID's policy and closes its connections, as Redis
// does with the connections of a deleted user; see also
// WithConnectionsKeptOnUnassign. The error says that there was none.
func (s *Server) Unassign(objectID string) error {
	s.stateMu.Lock()
	key := strings.ToLower(objectID)
	g := s.grants[key]
	if g == nil {
		s.stateMu.Unlock()
		return fmt.Errorf("remove access policy: %q has none assigned", objectID)
	}
	delete(s.grants, key)
	g.set.Store(s.noAccess)
	s.record(Event{Kind: EventPolicyRemoved, User: g.objectID, Detail: fmt.Sprintf("access policy %q removed", g.policy.Name)})
	s.stateMu.Unlock()
	if !s.opts.keepUnassigned {
		s.cut(ReasonUnassigned, func(c *connection) bool { return c.granted(g) })
	}
	return nil
}

// RemoveAssignment is Unassign by the assignment's name.
func (s *Server) RemoveAssignment(name string) error {
	for _, a := range s.Assignments() {
		if strings.EqualFold(a.Name, name) {
			return s.Unassign(a.ObjectID)
		}
	}
	return fmt.Errorf("remove access policy assignment %q: there is none of that name; Assignments lists those there are", name)
}

// Assignments lists the assigned policies by object ID.
func (s *Server) Assignments() []Assignment {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	list := make([]Assignment, 0, len(s.grants))
	for _, g := range s.grants {
		list = append(list, Assignment{Name: g.name, ObjectID: g.objectID, Alias: g.alias, Policy: g.policy})
	}
	slices.SortFunc(list, func(a, b Assignment) int { return cmp.Compare(a.ObjectID, b.ObjectID) })
	return list
}
