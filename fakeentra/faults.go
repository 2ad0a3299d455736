package fakeentra

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Fault makes requests fail.
type Fault struct {
	// Endpoint is what fails; EndpointAny is everything.
	Endpoint Endpoint
	// Status is the HTTP status to answer with. 0 means the status that belongs to
	// Code, or 503 if there is no Code.
	Status int
	// Code is the AADSTS number to answer with. 0 means the one that belongs to
	// Status: 90055 (throttled) for 429, 90033 (transient) for 5xx, none otherwise.
	// A code that this package does not know is sent with a text that says so.
	Code int
	// RetryAfter, unless 0, is sent as Retry-After, rounded up to whole seconds.
	RetryAfter time.Duration
	// Times is how many requests fail. 0 means all of them until Remove is called.
	Times int
}

// FaultHandle follows a fault that was set with Fail.
type FaultHandle struct {
	faults *faults
	fault  Fault

	// guarded by faults.mu
	left  int
	fired int
}

// faults are the faults set at present, oldest first.
type faults struct {
	mu     sync.Mutex
	active []*FaultHandle
}

// Fail makes the coming requests fail as the fault says, instead of being
// answered. Of several faults for the same request the oldest is used. A request
// that fails this way is logged with OutcomeFault.
func (s *Server) Fail(f Fault) *FaultHandle {
	h := &FaultHandle{faults: &s.faults, fault: f, left: f.Times}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.active = append(s.faults.active, h)
	return h
}

// Fired tells how many requests the fault has hit.
func (h *FaultHandle) Fired() int {
	h.faults.mu.Lock()
	defer h.faults.mu.Unlock()
	return h.fired
}

// Remove ends the fault. It may be called more than once.
func (h *FaultHandle) Remove() {
	h.faults.mu.Lock()
	defer h.faults.mu.Unlock()
	h.faults.drop(h)
}

func (f *faults) take(endpoint Endpoint) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.active {
		if h.fault.Endpoint != EndpointAny && h.fault.Endpoint != endpoint {
			continue
		}
		h.fired++
		if h.fault.Times > 0 {
			if h.left--; h.left == 0 {
				f.drop(h)
			}
		}
		return h.fault, true
	}
	return Fault{}, false
}

func (f *faults) drop(h *FaultHandle) {
	for i, other := range f.active {
		if other == h {
			f.active = append(f.active[:i:i], f.active[i+1:]...)
			return
		}
	}
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
