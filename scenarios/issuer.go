package scenarios

import (
	"fmt"
	"sync"
	"time"

	"github.com/entracache/entracache/fakeentra"
	"github.com/entracache/entracache/scenarios/protocol"
)

// codeSecretExpired is what Entra answers for a client secret whose time is over: AADSTS7000222.
const codeSecretExpired = 7000222

func (w *World) issuerAsksForPause(status, minutes int) error {
	_, err := w.entra.AddFault(fakeentra.Fault{Endpoint: fakeentra.EndpointToken, Status: status, RetryAfter: w.span(minutes), Times: 1})
	return err
}

func (w *World) issuerResetsOnce() error {
	_, err := w.entra.AddFault(fakeentra.Fault{Endpoint: fakeentra.EndpointToken, Action: fakeentra.FaultReset, Times: 1})
	return err
}

// issuerFailsEveryOther fails the first, third, fifth … request from now on. Each fault counts only the requests that no older one takes.
func (w *World) issuerFailsEveryOther(status, times int) error {
	for i := range times {
		if _, err := w.entra.AddFault(fakeentra.Fault{Endpoint: fakeentra.EndpointToken, Status: status, After: i, Times: 1}); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) issuerFailsAll(status int) error {
	return w.issuerSuffers(fakeentra.Fault{Endpoint: fakeentra.EndpointToken, Status: status})
}

func (w *World) machineFailsOnce(status int) error {
	_, err := w.entra.AddFault(fakeentra.Fault{Endpoint: fakeentra.EndpointManagedIdentity, Status: status, Times: 1})
	return err
}

func (w *World) machineFailsAll(status int) error {
	return w.issuerSuffers(fakeentra.Fault{Endpoint: fakeentra.EndpointManagedIdentity, Status: status})
}

func (w *World) issuerRefusesSecret() error {
	return w.issuerSuffers(fakeentra.Fault{Endpoint: fakeentra.EndpointToken, Code: codeSecretExpired})
}

func (w *World) issuerHangs() error {
	return w.issuerSuffers(fakeentra.Fault{Endpoint: fakeentra.EndpointAny, Action: fakeentra.FaultHang})
}

// issuerTakes is on the wall clock in every lane, as the network and the limits that clients have for it are.
func (w *World) issuerTakes(ms int) error {
	delay := w.lane.Patience(time.Duration(ms) * time.Millisecond)
	return w.issuerSuffers(fakeentra.Fault{Endpoint: fakeentra.EndpointToken, Action: fakeentra.FaultSlow, Delay: delay})
}

// issuerSuffers sets what is the matter with the issuer, or the machine, until it answers as usual again.
func (w *World) issuerSuffers(f fakeentra.Fault) error {
	var err error
	w.issuerFault, err = w.entra.AddFault(f)
	return err
}

func (w *World) issuerIsWell() error {
	if w.issuerFault == nil {
		return fmt.Errorf("the step needs an issuer, or a machine, with which something was the matter before it")
	}
	w.issuerFault.Remove()
	return nil
}

// twoAtOnce opens two clients side by side and runs the command with each. A client that cannot be opened has told its caller, too.
func (w *World) twoAtOnce(command string) error {
	request := w.openRequest()
	outcomes, errs := make([]outcome, 2), make([]error, 2)
	var wg sync.WaitGroup
	for i := range outcomes {
		r := request
		r.Client = fmt.Sprintf("%s-%d", w.client, i+1)
		wg.Go(func() { outcomes[i], errs[i] = w.openAndRun(r, command) })
	}
	wg.Wait()
	w.both = outcomes
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *World) openAndRun(r protocol.Request, command string) (outcome, error) {
	o := outcome{command: command, at: w.clock.Now()}
	reply, err := w.call(r)
	if err != nil || !reply.OK {
		o.err = reply.Error
		return o, err
	}
	defer func() { _, _ = w.call(protocol.Close(r.Client)) }()
	reply, err = w.call(protocol.Command(r.Client, command))
	o.value, o.err = reply.Value, reply.Error
	return o, err
}

func (w *World) bothFail() error {
	if len(w.both) != 2 {
		return fmt.Errorf("the step speaks of two commands, but two were not run before it")
	}
	for i, o := range w.both {
		if o.err == nil {
			return expect("both commands to fail with an error that reaches the caller", "that of client %d: %s", i+1, o)
		}
	}
	return nil
}
