package fakeserver

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/entracache/entracache/fakeserver/internal/acl"
)

// Policy is a data access policy: a name and a permission string in the
// grammar of the engine's level, such as "+@read +set ~app:*".
type Policy struct {
	Name        string
	Permissions string
}

// The built-in policies. The strings are those of a documentation change of
// September 2026 (MicrosoftDocs/azure-docs#128799).
var (
	DataOwner       = Policy{"Data Owner", "+@all allkeys"}
	DataContributor = Policy{"Data Contributor", "+@all -@dangerous +cluster|info +cluster|nodes +cluster|slots allkeys"}
	DataReader      = Policy{"Data Reader", "+@read +@connection -client +client|caching +client|getname +client|getredir +client|id +client|info +client|list +client|reply +client|setinfo +client|setname +client|tracking +client|trackinginfo +cluster|info +cluster|nodes +cluster|slots allkeys"}
	// DataReaderLegacy is the string of Data Reader in exports of real caches
	// from 2023 to 2025.
	DataReaderLegacy = Policy{"Data Reader", "+@read +@connection +cluster|info +cluster|nodes +cluster|slots allkeys"}
)

// grant is an assigned policy. Connections hold a pointer to the grant, so that
// a change of policy applies to their next command.
type grant struct {
	objectID string
	policy   Policy
	set      atomic.Pointer[acl.Set]
}

func (s *Server) newGrant(objectID string, p Policy) (*grant, error) {
	set, err := s.compile(p)
	if err != nil {
		return nil, err
	}
	g := &grant{objectID: objectID, policy: p}
	g.set.Store(set)
	return g, nil
}

func (s *Server) compile(p Policy) (*acl.Set, error) {
	set, err := acl.Compile(s.table, s.prof.grammar, p.Permissions)
	if err != nil {
		return nil, fmt.Errorf("access policy %q: %w", p.Name, err)
	}
	return set, nil
}

// Assign gives a policy to an object ID: that of a service principal, a managed
// identity or a user. A policy that it has already is replaced, with effect on
// the next command of its live connections and at the EXEC of their open
// transactions. The error names the part of the permission string that is
// wrong.
//
// Object IDs are compared without regard to case here, and exactly with a
// token's oid when a client signs in.
func (s *Server) Assign(objectID string, p Policy) error {
	if objectID == "" {
		return errors.New("assign access policy: expected an object ID, got an empty one")
	}
	if strings.EqualFold(objectID, defaultUser) {
		return fmt.Errorf("assign access policy: %q is the user of the access keys, expected an object ID", objectID)
	}
	g, err := s.newGrant(objectID, p)
	if err != nil {
		return err
	}
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	key := strings.ToLower(objectID)
	if old := s.grants[key]; old != nil {
		old.policy = p
		old.set.Store(g.set.Load())
	} else {
		s.grants[key] = g
	}
	s.record(Event{Kind: EventPolicyAssigned, User: objectID, Detail: fmt.Sprintf("access policy %q assigned: %s", p.Name, p.Permissions)})
	return nil
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
		s.cut(ReasonUnassigned, func(c *connection) bool {
			id := c.identity.Load()
			return id != nil && id.grant == g
		})
	}
	return nil
}

// Assignment is a policy and whom it is assigned to.
type Assignment struct {
	ObjectID string
	Policy   Policy
}

// Assignments lists the assigned policies by object ID.
func (s *Server) Assignments() []Assignment {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	list := make([]Assignment, 0, len(s.grants))
	for _, g := range s.grants {
		list = append(list, Assignment{g.objectID, g.policy})
	}
	slices.SortFunc(list, func(a, b Assignment) int { return cmp.Compare(a.ObjectID, b.ObjectID) })
	return list
}
