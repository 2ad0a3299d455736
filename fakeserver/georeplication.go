package fakeserver

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// GeoRole is the part that a linked cache has in a geo-replication link, by its
// name in the management API (serverRole).
type GeoRole string

// The roles.
const (
	GeoPrimary   GeoRole = "Primary"
	GeoSecondary GeoRole = "Secondary"
)

// LinkedServer is another cache that this one is linked to.
type LinkedServer struct {
	Name string // of the other cache
	Role GeoRole
}

// Link links the cache to another one for geo-replication. Of geo-replication
// there is only what disabling access keys needs: nothing is replicated, and a
// linked secondary takes writes as before. Live connections are kept; what the
// service does with them has no source.
//
// The error is ErrTier except in the Premium tier ("requires Premium SKU",
// azure-rest-api-specs linkedServers), ErrGeoReplicated if there is a link to
// that cache already, ErrBusy, or says what is wrong with the arguments.
func (s *Server) Link(other LinkedServer) error {
	name := fmt.Sprintf("link with the cache %q", other.Name)
	switch {
	case other.Name == "":
		return fmt.Errorf("%s: expected a name, got an empty one", name)
	case other.Role != GeoPrimary && other.Role != GeoSecondary:
		return fmt.Errorf("%s: expected the role %q or %q, got %q", name, GeoPrimary, GeoSecondary, other.Role)
	}
	key := strings.ToLower(other.Name)
	return s.operate(operation{
		name: name, state: StateLinking,
		check: func() (bool, error) {
			if err := s.checkTier(s.opts.sku.Tier() == TierPremium, "geo-replication", "the tier Premium"); err != nil {
				return false, err
			}
			if _, there := s.links[key]; there {
				return false, fmt.Errorf("%w with it already; unlink them first with Unlink", ErrGeoReplicated)
			}
			return true, nil
		},
		effect: func(func()) bool {
			s.stateMu.Lock()
			defer s.stateMu.Unlock()
			s.links[key] = other
			s.record(Event{Kind: EventGeoLinked, Detail: fmt.Sprintf("linked with the cache %q, which is the %s", other.Name, strings.ToLower(string(other.Role)))})
			return true
		},
	})
}

// Unlink ends the geo-replication with another cache. The error is ErrNotLinked
// or ErrBusy.
func (s *Server) Unlink(otherName string) error {
	key := strings.ToLower(otherName)
	return s.operate(operation{
		name: fmt.Sprintf("unlink from the cache %q", otherName), state: StateUnlinking,
		check: func() (bool, error) {
			if _, there := s.links[key]; !there {
				return false, fmt.Errorf("%w; LinkedServers lists those there are", ErrNotLinked)
			}
			return true, nil
		},
		effect: func(func()) bool {
			s.stateMu.Lock()
			defer s.stateMu.Unlock()
			delete(s.links, key)
			s.record(Event{Kind: EventGeoUnlinked, Detail: fmt.Sprintf("unlinked from the cache %q", otherName)})
			return true
		},
	})
}

// LinkedServers lists the caches that this one is linked to, by name.
func (s *Server) LinkedServers() []LinkedServer {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	return slices.SortedFunc(maps.Values(s.links), func(a, b LinkedServer) int { return cmp.Compare(a.Name, b.Name) })
}
