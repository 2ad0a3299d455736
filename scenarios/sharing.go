package scenarios

import (
	"strings"

	"github.com/entracache/entracache/scenarios/protocol"
)

// The steps about two clients of one application.

// secondOpens makes another client, with the options of the first and its credentials provider.
func (w *World) secondOpens() error {
	failed, err := w.ensureOpen()
	if err != nil {
		return err
	}
	if failed != nil {
		return expect("the first client to open", "open failed: %s", failed.Error())
	}
	r := w.openRequest()
	r.Client, r.ProviderOf = w.client+"-second", w.client
	reply, err := w.call(r)
	if err != nil {
		return err
	}
	if !reply.OK {
		return expect("the second client to open", "open failed: %s", reply.Error.Error())
	}
	w.second = r.Client
	o, err := w.doAs(w.second, "PING")
	if err != nil {
		return err
	}
	if o.err != nil {
		return expect("the second client to open a connection", "%s", o)
	}
	w.rememberOpen()
	return nil
}

func (w *World) doAs(client, command string) (outcome, error) {
	o := outcome{command: command, at: w.clock.Now()}
	reply, err := w.call(protocol.Command(client, strings.Fields(command)...))
	o.value, o.err = reply.Value, reply.Error
	return o, err
}

func (w *World) bothRunEvery(interval, duration int) error {
	return w.everySo(interval, duration, func() error {
		for _, client := range []string{w.client, w.second} {
			if err := w.collect(client); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *World) secondRunsEvery(interval, duration int) error {
	return w.everySo(interval, duration, func() error { return w.collect(w.second) })
}

func (w *World) collect(client string) error {
	o, err := w.doAs(client, "PING")
	if err == nil {
		w.results = append(w.results, o)
	}
	return err
}
