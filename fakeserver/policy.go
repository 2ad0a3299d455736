package fakeserver

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
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

// BuiltInPolicies lists the built-in policies: Data Owner, Data Contributor and
// Data Reader, which are "not configurable" (azure-rest-api-specs,
// AccessPolicyType).
func BuiltInPolicies() []Policy { return []Policy{DataOwner, DataContributor, DataReader} }

// The rule for a custom policy's name is that of the management API
// (azure-rest-api-specs, accessPolicyName).
const (
	shortestPolicyName = 3
	longestPolicyName  = 63
)

var policyName = regexp.MustCompile(`^([a-zA-Z0-9][a-zA-Z0-9- ]*[a-zA-Z0-9]|[a-zA-Z0-9])$`)

// CheckPolicyName says what is wrong with the name of a custom policy: it must
// have 3 to 63 letters, digits, hyphens and spaces, with a letter or digit at
// either end.
func CheckPolicyName(name string) error {
	if n := len(name); n < shortestPolicyName || n > longestPolicyName {
		return fmt.Errorf("access policy name %q: expected %d to %d characters, got %d", name, shortestPolicyName, longestPolicyName, n)
	}
	if !policyName.MatchString(name) {
		return fmt.Errorf("access policy name %q: expected letters, digits, hyphens and spaces, with a letter or digit at either end", name)
	}
	return nil
}

// policyKey is by what policies are told apart. That case does not count is the
// management API's rule for names of resources.
func policyKey(name string) string { return strings.ToLower(name) }

// AddPolicy defines a custom access policy, which AssignPolicy then assigns by
// its name. The error says what is wrong with the name or the permission string,
// or that there is one of that name already.
func (s *Server) AddPolicy(p Policy) error { return s.putPolicy(p, false) }

// UpdatePolicy replaces the permission string of a custom access policy, with
// effect on the next command of everybody who has it assigned by its name and at
// the EXEC of their open transactions. What the service does with live
// connections has no source; Redis does this. See also
// WithConnectionsCutOnPolicyChange.
func (s *Server) UpdatePolicy(p Policy) error { return s.putPolicy(p, true) }

func (s *Server) putPolicy(p Policy, update bool) error {
	if err := CheckPolicyName(p.Name); err != nil {
		return err
	}
	set, err := s.compile(p)
	if err != nil {
		return err
	}
	changed, err := s.storePolicy(p, set, update)
	for _, g := range changed {
		s.policyChanged(g, set)
	}
	return err
}

// storePolicy keeps a policy and returns the grants that it changed.
func (s *Server) storePolicy(p Policy, set *acl.Set, update bool) (changed []*grant, err error) {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	key := policyKey(p.Name)
	if builtIn(key) {
		return nil, fmt.Errorf("access policy %q: it is built in and cannot be changed", p.Name)
	}
	switch _, there := s.policies[key]; {
	case there && !update:
		return nil, fmt.Errorf("access policy %q: there is one of that name already", p.Name)
	case !there && update:
		return nil, fmt.Errorf("access policy %q: there is none of that name", p.Name)
	}
	s.policies[key] = p
	s.record(Event{Kind: EventPolicyDefined, Detail: fmt.Sprintf("access policy %q defined: %s", p.Name, p.Permissions)})
	for _, g := range s.grants {
		if g.byName && policyKey(g.policy.Name) == key {
			if g.policy.Permissions != p.Permissions {
				changed = append(changed, g)
			}
			g.policy = p
			g.set.Store(set)
		}
	}
	return changed, nil
}

// RemovePolicy removes a custom access policy. It is refused while the policy is
// assigned to somebody; what the service does then has no source.
func (s *Server) RemovePolicy(name string) error {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	key := policyKey(name)
	if builtIn(key) {
		return fmt.Errorf("remove access policy %q: it is built in", name)
	}
	if _, there := s.policies[key]; !there {
		return fmt.Errorf("remove access policy %q: there is none of that name", name)
	}
	for _, g := range s.grants {
		if g.byName && policyKey(g.policy.Name) == key {
			return fmt.Errorf("remove access policy %q: it is assigned to %s; remove that first", name, g.objectID)
		}
	}
	delete(s.policies, key)
	s.record(Event{Kind: EventPolicyUndefined, Detail: fmt.Sprintf("access policy %q removed", name)})
	return nil
}

func builtIn(key string) bool {
	return slices.ContainsFunc(BuiltInPolicies(), func(p Policy) bool { return policyKey(p.Name) == key })
}

// Policies lists the access policies that AssignPolicy knows: the built-in ones
// and then the custom ones by name.
func (s *Server) Policies() []Policy {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	custom := slices.SortedFunc(maps.Values(s.policies), func(a, b Policy) int { return cmp.Compare(a.Name, b.Name) })
	return append(BuiltInPolicies(), custom...)
}

// grant is an assigned policy. Connections hold a pointer to the grant, so that
// a change of policy applies to their next command.
type grant struct {
	name     string // of the assignment
	objectID string
	alias    string
	policy   Policy
	byName   bool // changes with the policy of that name
	set      atomic.Pointer[acl.Set]
}

func (s *Server) newGrant(objectID string, p Policy) (*grant, error) {
	set, err := s.compile(p)
	if err != nil {
		return nil, err
	}
	g := &grant{name: objectID, objectID: objectID, policy: p}
	g.set.Store(set)
	return g, nil
}

func (s *Server) compile(p Policy) (*acl.Set, error) {
	set, err := s.rules().Compile(p.Permissions)
	if err != nil {
		return nil, fmt.Errorf("access policy %q: %w", p.Name, err)
	}
	return set, nil
}
