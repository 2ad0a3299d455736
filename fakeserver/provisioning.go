package fakeserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jonboulle/clockwork"
)

// Why a change of the cache's configuration is refused. The errors of the
// methods wrap one of these and say what to do next. The texts of the service
// have no source.
var (
	ErrTier           = errors.New("the cache's tier does not offer it")
	ErrEntraDisabled  = errors.New("the cache has Microsoft Entra authentication disabled")
	ErrNoIssuer       = errors.New("the cache trusts no issuer")
	ErrNoUserAssigned = errors.New("no Redis user is configured")
	ErrKeysDisabled   = errors.New("access keys are disabled")
	ErrGeoReplicated  = errors.New("the cache is linked for geo-replication")
	ErrNotLinked      = errors.New("there is no such link")
	ErrBusy           = errors.New("another change of the configuration is under way")
)

// ProvisioningState is the state of the cache's configuration, by its name in
// the management API (azure-rest-api-specs, Microsoft.Cache/Redis
// ProvisioningState). The states of that list which nothing here leads to are
// left out.
type ProvisioningState string

// The provisioning states.
const (
	StateSucceeded      ProvisioningState = "Succeeded"
	StateUpdating       ProvisioningState = "Updating"       // access keys are being disabled or enabled
	StateConfiguringAAD ProvisioningState = "ConfiguringAAD" // Microsoft Entra authentication is being enabled or disabled
	StateLinking        ProvisioningState = "Linking"
	StateUnlinking      ProvisioningState = "Unlinking"
)

// provisioning is the change of the configuration that is under way. It is
// guarded by Server.stateMu.
type provisioning struct {
	state ProvisioningState
	done  chan struct{} // closed when state is Succeeded again; nil while it is
	timer clockwork.Timer
}

// WithConfigurationTime sets how long a change of the cache's configuration is
// under way, on the server's clock, before it takes effect: EnableEntra,
// DisableEntra, DisableAccessKeys, EnableAccessKeys, Link and Unlink.
// ProvisioningState tells it meanwhile, the methods return at once, and every
// further change is refused with ErrBusy. Default 0: the change has its effect
// before the method returns. Of Microsoft Entra authentication the documentation
// says "the operation can take up to 30 minutes" (azure-docs
// cache-azure-active-directory-for-authentication.md); the rest has no source.
func WithConfigurationTime(d time.Duration) Option {
	return func(o *options) error {
		if d < 0 {
			return fmt.Errorf("WithConfigurationTime: expected 0 or more, got %s", d)
		}
		o.configurationTime = d
		return nil
	}
}

// ProvisioningState is the state of the cache's configuration: StateSucceeded
// unless a change is under way.
func (s *Server) ProvisioningState() ProvisioningState {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	return s.provisioning.state
}

// WaitProvisioned waits until no change of the configuration is under way, its
// reboot included. The error is that of ctx, or says that the server was closed.
func (s *Server) WaitProvisioned(ctx context.Context) error {
	s.stateMu.Lock()
	done := s.provisioning.done
	s.stateMu.Unlock()
	if done == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ctx.Done():
		return errors.New("wait for the cache's configuration: the server was closed")
	}
}

// operation is a change of the cache's configuration.
type operation struct {
	name  string            // "disable access keys"
	state ProvisioningState // while it is under way
	// check says whether there is anything to change, and refuses. It is called
	// with stateMu held.
	check func() (change bool, err error)
	// effect makes the change. If it returns true the operation is over;
	// otherwise it calls done later.
	effect func(done func()) (over bool)
}

// operate runs a change of the cache's configuration.
func (s *Server) operate(op operation) error {
	done, err := s.begin(op)
	if err != nil {
		return fmt.Errorf("%s: %w", op.name, err)
	}
	if done != nil && s.opts.configurationTime == 0 {
		s.finish(op, done)
	}
	return nil
}

// begin checks a change of the configuration and, if it takes time, lets the
// clock finish it. done is nil if there is nothing to change.
func (s *Server) begin(op operation) (done chan struct{}, err error) {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	change, err := op.check()
	if err != nil || !change {
		return nil, err
	}
	if s.provisioning.state != StateSucceeded {
		return nil, fmt.Errorf("%w, its state is %s; wait for it with WaitProvisioned", ErrBusy, s.provisioning.state)
	}
	done = make(chan struct{})
	s.provisioning = provisioning{state: op.state, done: done}
	s.provisioned(op.state)
	if d := s.opts.configurationTime; d > 0 {
		s.provisioning.timer = s.opts.clock.AfterFunc(d, func() { s.finish(op, done) })
	}
	return done, nil
}

// finish makes the change, unless Reset or Close came first.
func (s *Server) finish(op operation, done chan struct{}) {
	s.stateMu.Lock()
	current := s.provisioning.done == done && s.ctx.Err() == nil
	s.stateMu.Unlock()
	if !current {
		return
	}
	succeeded := func() { s.succeeded(done) }
	if op.effect(succeeded) {
		succeeded()
	}
}

// succeeded ends a change, if it still is the one that is under way.
func (s *Server) succeeded(done chan struct{}) {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	if s.provisioning.done == done {
		s.endOperation()
	}
}

// endOperation ends the change that is under way; stateMu is held.
func (s *Server) endOperation() {
	if t := s.provisioning.timer; t != nil {
		t.Stop()
	}
	close(s.provisioning.done)
	s.provisioning = provisioning{state: StateSucceeded}
	s.provisioned(StateSucceeded)
}

// provisioned logs a state of the configuration.
func (s *Server) provisioned(state ProvisioningState) {
	s.record(Event{Kind: EventProvisioningState, Detail: string(state)})
}

// stopOperation lets a change that is under way take no effect any more.
func (s *Server) stopOperation() {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	if t := s.provisioning.timer; t != nil {
		t.Stop()
	}
}

// resetConfiguration makes the configuration that of the start, and gives up a
// change that is under way; stateMu is held.
func (s *Server) resetConfiguration() {
	if s.provisioning.done != nil {
		s.endOperation()
	}
	s.keys, s.keysDisabled = s.firstKeys, s.opts.keysDisabled
	s.entra = s.validator != nil && s.offersEntra() && !s.opts.entraDisabled
	clear(s.links)
	s.minTLS.Store(uint32(s.opts.minTLS))
	s.idleTimeout.Store(int64(s.opts.idleTimeout))
}
