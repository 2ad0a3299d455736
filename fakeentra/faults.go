package fakeentra

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// FaultAction is what a fault does to a request.
type FaultAction string

const (
	// FaultAnswer answers with an error: see Status, Code and RetryAfter.
	FaultAnswer FaultAction = ""
	// FaultSlow answers as usual, but only after Delay.
	FaultSlow FaultAction = "slow"
	// FaultHang never answers: the request is held until the fault is removed, the
	// client gives up or the server is closed, and then cut off. It is logged when
	// it begins to hang.
	FaultHang FaultAction = "hang"
	// FaultReset resets the connection instead of answering; over HTTP/2 that ends
	// every other request on it too.
	FaultReset FaultAction = "reset"
	// FaultGarbage answers with a page of HTML, as a gateway in between would, and
	// with status 200 unless Status says otherwise.
	FaultGarbage FaultAction = "garbage"
	// FaultTruncate answers as usual, but with the first half of the body only; the
	// HTTP message around it is whole. A token in it counts as not issued.
	FaultTruncate FaultAction = "truncate"
)

// Fault makes requests fail.
type Fault struct {
	// Endpoint is what fails; EndpointAny is everything. Tunnels of the proxy do not
	// fail; what is asked through them does.
	Endpoint Endpoint
	// ClientID, unless empty, limits the fault to requests that name this client
	// ID, or that a managed identity with this client ID would be answered for.
	ClientID string
	// Action is what happens to the request.
	Action FaultAction
	// After is how many requests are let through before the first one fails: 2, with
	// Times 1, makes the third request fail and no other. Requests that an older
	// fault takes are not counted.
	After int
	// Times is how many requests fail. 0 means all of them until Remove is called.
	Times int
	// Delay, unless 0, holds the request for that long on the server's clock before
	// anything is done about it. It ends early when the fault is removed.
	Delay time.Duration
	// Status is the HTTP status to answer with. 0 means the status that belongs to
	// Code, or 503 if there is no Code.
	Status int
	// Code is the AADSTS number to answer with. 0 means the one that belongs to
	// Status: 90055 (throttled) for 429, 90033 (transient) for 5xx, none otherwise.
	// A code that this package does not know is sent with a text that says so. The
	// managed identity endpoints wrap it as they wrap an error of Entra.
	Code int
	// RetryAfter, unless 0, is sent as Retry-After, rounded up to whole seconds.
	RetryAfter time.Duration
}

var (
	faultActions   = []FaultAction{FaultAnswer, FaultSlow, FaultHang, FaultReset, FaultGarbage, FaultTruncate}
	faultEndpoints = []Endpoint{
		EndpointAny, EndpointToken, EndpointAuthorize, EndpointDeviceCode, EndpointDevicePage, EndpointUserRealm,
		EndpointJWKS, EndpointDiscovery, EndpointInstance, EndpointManagedIdentity, EndpointUnknown,
	}
)

func (f Fault) check() error {
	if !slices.Contains(faultActions, f.Action) {
		return fmt.Errorf("fakeentra: unknown fault action %q: expected one of %q", f.Action, faultActions)
	}
	if !slices.Contains(faultEndpoints, f.Endpoint) {
		return fmt.Errorf("fakeentra: no faults at endpoint %q: expected one of %q", f.Endpoint, faultEndpoints)
	}
	if f.After < 0 || f.Times < 0 || f.Delay < 0 || f.RetryAfter < 0 {
		return fmt.Errorf("fakeentra: fault: expected After, Times, Delay and RetryAfter of zero or more, got %d, %d, %s and %s",
			f.After, f.Times, f.Delay, f.RetryAfter)
	}
	if f.Status != 0 && (f.Status < 200 || f.Status > 599) {
		return fmt.Errorf("fakeentra: fault: expected a status of 200 to 599, or 0 for the default, got %d", f.Status)
	}
	return nil
}

// FaultHandle follows a fault that was set with Fail.
type FaultHandle struct {
	faults  *faults
	fault   Fault
	removed chan struct{}

	// guarded by faults.mu
	after int
	left  int
	fired int
	gone  bool // removed is closed
}

// faults are the faults set at present, oldest first.
type faults struct {
	mu     sync.Mutex
	active []*FaultHandle
}

// AddFault makes the coming requests fail as the fault says, instead of being
// answered. Of several faults for the same request the oldest is used. A request
// that fails this way is logged with OutcomeFault, one that was only slow as
// usual. It returns an error for an unknown action or endpoint, for a status that
// is none, and for negative numbers.
func (s *Server) AddFault(f Fault) (*FaultHandle, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	h := &FaultHandle{faults: &s.faults, fault: f, removed: make(chan struct{}), after: f.After, left: f.Times}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.active = append(s.faults.active, h)
	return h, nil
}

// Fail is AddFault for tests: it panics on a fault that AddFault refuses.
func (s *Server) Fail(f Fault) *FaultHandle {
	h, err := s.AddFault(f)
	if err != nil {
		panic(err)
	}
	return h
}

// Fired tells how many requests the fault has hit.
func (h *FaultHandle) Fired() int {
	h.faults.mu.Lock()
	defer h.faults.mu.Unlock()
	return h.fired
}

// Remove ends the fault and lets go of the requests that it holds. It may be
// called more than once.
func (h *FaultHandle) Remove() {
	h.faults.mu.Lock()
	defer h.faults.mu.Unlock()
	h.faults.drop(h)
	if !h.gone {
		h.gone = true
		close(h.removed)
	}
}

// take returns the fault that the request falls to, if any.
func (f *faults) take(r *Request) (*FaultHandle, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.active {
		if !h.fault.concerns(r) {
			continue
		}
		if h.after > 0 {
			h.after--
			continue
		}
		h.fired++
		if h.fault.Times > 0 {
			if h.left--; h.left == 0 {
				f.drop(h)
			}
		}
		return h, true
	}
	return nil, false
}

func (f Fault) concerns(r *Request) bool {
	return (f.Endpoint == EndpointAny || f.Endpoint == r.Endpoint) &&
		(f.ClientID == "" || strings.EqualFold(f.ClientID, r.ClientID))
}

func (f *faults) drop(h *FaultHandle) {
	for i, other := range f.active {
		if other == h {
			f.active = append(f.active[:i:i], f.active[i+1:]...)
			return
		}
	}
}

// suffer does to the exchange what the fault says. It reports whether the
// exchange is to be answered as usual after all.
func (x *exchange) suffer(h *FaultHandle) bool {
	f := h.fault
	if f.Delay > 0 {
		x.hold(h, f.Delay)
	}
	switch f.Action {
	case FaultSlow, FaultTruncate:
		x.fault = h
		return true
	case FaultHang:
		x.record.Outcome = OutcomeFault
		x.log()
		x.untilGone(h)
		panic(http.ErrAbortHandler)
	case FaultReset:
		x.reset()
	case FaultGarbage:
		x.record.Error = ""
		x.send(cmp.Or(f.Status, http.StatusOK), OutcomeFault, "text/html", []byte(garbage))
	case FaultAnswer:
		x.fail(f)
	}
	return false
}

const garbage = "<!DOCTYPE html><html><head><title>Oops</title></head><body>This is not the answer that you asked for.</body></html>"

// hold waits for the delay. If there is nobody left to answer then, it ends the
// exchange.
func (x *exchange) hold(h *FaultHandle, delay time.Duration) {
	timer := x.server.clock.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.Chan():
	case <-h.removed:
	case <-x.r.Context().Done():
		x.abandon()
	case <-x.server.closing:
		x.abandon()
	}
}

// untilGone waits until there is no reason to hang any more.
func (x *exchange) untilGone(h *FaultHandle) {
	select {
	case <-h.removed:
	case <-x.r.Context().Done():
	case <-x.server.closing:
	}
}

// abandon ends an exchange that a fault has held for too long.
func (x *exchange) abandon() {
	if x.server.outage.Load() {
		x.cutOff()
	}
	x.record.Outcome = OutcomeFault
	x.log()
	panic(http.ErrAbortHandler)
}

// reset resets the connection. A server that only mounts the Handler closes it
// in whatever way it has.
func (x *exchange) reset() {
	x.record.Outcome = OutcomeFault
	x.log()
	if c, ok := x.r.Context().Value(connectionKey{}).(net.Conn); ok {
		reset(c)
	}
	panic(http.ErrAbortHandler)
}

func (x *exchange) fail(f Fault) {
	if v := f.retryAfter(); v != "" {
		x.w.Header().Set("Retry-After", v)
	}
	code, r := f.answer()
	if x.route.endpoint == EndpointManagedIdentity {
		x.failIdentity(code, r)
		return
	}
	x.sendError(OutcomeFault, code, r)
}

// answer tells what the fault is answered with: status, code (0 for none), the
// OAuth error and the text with placeholders.
func (f Fault) answer() (code int, r refusal) {
	code = f.Code
	if code == 0 {
		switch {
		case f.Status == http.StatusTooManyRequests:
			code = codeThrottled
		case f.Status == 0 || f.Status >= http.StatusInternalServerError:
			code = codeTransient
		}
	}
	r, known := refusals[code]
	if !known {
		r = refusal{status: f.Status, text: "This failure was asked for by the test."}
		switch {
		case f.Status == 0:
			r.status, r.kind = http.StatusServiceUnavailable, "temporarily_unavailable"
		case f.Status == http.StatusTooManyRequests || f.Status >= http.StatusInternalServerError:
			r.kind = "temporarily_unavailable"
		case f.Status == http.StatusUnauthorized:
			r.kind = "invalid_client"
		default:
			r.kind = "invalid_request"
		}
	}
	if f.Status != 0 {
		r.status = f.Status
	}
	return code, r
}

// retryAfter is the header's value, or "".
func (f Fault) retryAfter() string {
	if f.RetryAfter <= 0 {
		return ""
	}
	return fmt.Sprintf("%d", int64((f.RetryAfter+time.Second-1)/time.Second))
}
