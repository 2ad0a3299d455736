package fakeserver

import (
	"fmt"
	"strings"
)

// WithEntraDisabled starts with Microsoft Entra authentication off: every token
// is refused until EnableEntra. Default on where the server has an issuer and
// its tier offers it. Caches made in the portal have it on (azure-docs
// includes/cache-entra-access.md); the management API's "aad-enabled" has no
// default.
func WithEntraDisabled() Option {
	return func(o *options) error { o.entraDisabled = true; return nil }
}

// EntraEnabled says whether tokens sign in: "aad-enabled" in the management API.
func (s *Server) EntraEnabled() bool {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	return s.entra
}

// EnableEntra turns Microsoft Entra authentication on and gives the first user,
// an object ID, the access policy Data Owner: "the user you enter is
// automatically assigned Data Owner Access Policy by default" (azure-docs
// cache-azure-active-directory-for-authentication.md). With an empty object ID
// nobody is assigned anything; the management API allows that.
//
// "After the enable operation is finished, the nodes in your cache instance
// reboot to load the new configuration" (ibid.), which closes every connection
// and takes as long as RebootTakes says. How long the operation itself takes is
// WithConfigurationTime; until the nodes are up again the provisioning state is
// StateConfiguringAAD. It does nothing when it is on already.
//
// The error is ErrTier in the Enterprise tiers, ErrNoIssuer, ErrBusy, or says
// what is wrong with the object ID.
func (s *Server) EnableEntra(firstUser string, opts ...RebootOption) error {
	return s.setEntra(true, firstUser, opts)
}

// DisableEntra turns Microsoft Entra authentication off, with a reboot as in
// EnableEntra. Assignments are kept. Nobody could sign in any more while access
// keys are disabled, so it is refused then with ErrKeysDisabled; see
// WithUncheckedAuthentication. What the service does has no source, except that
// the setting exists.
func (s *Server) DisableEntra(opts ...RebootOption) error { return s.setEntra(false, "", opts) }

func (s *Server) setEntra(on bool, firstUser string, opts []RebootOption) error {
	name, kind, detail := "enable Microsoft Entra authentication", EventEntraEnabled, "Microsoft Entra authentication was enabled"
	if !on {
		name, kind, detail = "disable Microsoft Entra authentication", EventEntraDisabled, "Microsoft Entra authentication was disabled"
	}
	r := reboot{outage: outage{reason: ReasonEntraChanged}}
	for _, opt := range opts {
		if err := opt(&r); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if firstUser != "" {
		if err := checkObjectID(firstUser); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return s.operate(operation{
		name: name, state: StateConfiguringAAD,
		check: func() (bool, error) {
			switch {
			case s.entra == on:
				return false, nil
			case !on && s.keysDisabled && !s.opts.unchecked:
				return false, fmt.Errorf("%w: nobody could sign in; enable them first with EnableAccessKeys", ErrKeysDisabled)
			case on && s.validator == nil && s.offersEntra():
				return false, fmt.Errorf("%w: start it with WithIssuer", ErrNoIssuer)
			}
			return true, s.checkEntraTier("Microsoft Entra authentication")
		},
		effect: func(done func()) bool {
			s.stateMu.Lock()
			s.entra = on
			s.record(Event{Kind: kind, Detail: detail})
			s.stateMu.Unlock()
			if firstUser != "" {
				// It was checked above, and the policy is a built-in one.
				_ = s.AssignPolicy(firstUser, DataOwner.Name)
			}
			if r.lasts > 0 {
				r.up = done
			}
			s.rebootAll(r.outage, r.loseData, "all nodes were rebooted: "+strings.ToLower(detail[:1])+detail[1:])
			return r.lasts == 0
		},
	})
}
