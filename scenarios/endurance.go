package scenarios

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/entracache/entracache/fakeentra"
	"github.com/entracache/entracache/fakeserver"
)

// trouble is something that goes wrong in days of running, from a moment on and for a while, in the time of the scenario.
type trouble struct {
	what        string
	from, lasts time.Duration
	begin, end  func(w *World) error // end may be nil
}

// Between two troubles it is quiet for longer than a client is given to come back, also at the fastest speed of the virtual lane.
const (
	quietAtLeast = 5 * time.Hour
	quietAtMost  = 8 * time.Hour
)

// troubles draws what happens in some days: the same for the same seed.
func troubles(days int, seed uint64) []trouble {
	rng := rand.New(rand.NewPCG(seed, 0))
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(rng.Int64N(int64(most-least)))
	}
	var list []trouble
	end := time.Duration(days) * 24 * time.Hour
	for at := between(quietAtLeast, quietAtMost); at+quietAtLeast < end; at += between(quietAtLeast, quietAtMost) {
		t := trouble{from: at}
		switch rng.IntN(4) {
		case 0:
			t.what, t.lasts = "the issuer is down", between(5*time.Minute, 90*time.Minute)
			t.begin, t.end = (*World).issuerGoesDown, (*World).issuerIsBack
		case 1:
			t.what = "the issuer answers the next two token requests with HTTP status 503"
			t.begin = func(w *World) error {
				w.entra.Fail(fakeentra.Fault{Endpoint: fakeentra.EndpointToken, Status: 503, Times: 2})
				return nil
			}
			// They are met within a token's life.
			t.lasts = time.Hour
		case 2:
			t.what, t.lasts = "the nodes reboot", between(time.Minute, 15*time.Minute)
			lasts := t.lasts
			t.begin = func(w *World) error { return w.cache.Reboot(fakeserver.RebootTakes(w.lane.World(lasts))) }
		case 3:
			t.what, t.lasts = "access keys are disabled, and enabled again", between(time.Minute, time.Hour)
			t.begin, t.end = (*World).accessKeysDisabled, (*World).accessKeysEnabled
		}
		list = append(list, t)
		at += t.lasts
	}
	return list
}

// runsThroughTrouble runs commands in good and in bad times, and collects the outcomes.
func (w *World) runsThroughTrouble(interval, days, seed int) error {
	w.troubles, w.troubleStart = troubles(days, uint64(seed)), w.clock.Now()
	ended := make(chan error, 1)
	go func() { ended <- w.makeTrouble() }()
	err := w.runsEvery(interval, days*24*60)
	if trouble := <-ended; err == nil {
		err = trouble
	}
	return err
}

func (w *World) makeTrouble() error {
	until := func(at time.Duration) error { return w.wait(w.troubleStart.Add(w.lane.World(at)).Sub(w.clock.Now())) }
	for _, t := range w.troubles {
		if err := until(t.from); err != nil {
			return err
		}
		w.note("trouble", t.what)
		if err := t.begin(w); err != nil {
			return fmt.Errorf("%s: %w", t.what, err)
		}
		if err := until(t.from + t.lasts); err != nil {
			return err
		}
		if t.end != nil {
			w.note("trouble", "it is over: "+t.what)
			if err := t.end(w); err != nil {
				return fmt.Errorf("end of: %s: %w", t.what, err)
			}
		}
	}
	return nil
}

// backAfterTrouble excuses the commands that fail while there is trouble, and until the client has had its time to come back.
func (w *World) backAfterTrouble(minutes int) error {
	if len(w.troubles) == 0 || len(w.results) == 0 {
		return fmt.Errorf("the step speaks of trouble and of commands, but there was none before it")
	}
	// A command that began before the trouble did may meet it.
	before, after := w.lane.Patience(commandTimeout), w.lane.Patience(w.grace(minutes))
	excused := func(at time.Time) bool {
		for _, t := range w.troubles {
			from := w.troubleStart.Add(w.lane.World(t.from))
			if at.After(from.Add(-before)) && at.Before(from.Add(w.lane.World(t.lasts)+after)) {
				return true
			}
		}
		return false
	}
	var faults []string
	for _, o := range w.results {
		if o.err != nil && !excused(o.at) {
			faults = append(faults, fmt.Sprintf("at %s %s", w.at(o.at), o))
		}
	}
	if len(faults) > 0 {
		const shown = 3
		n := len(faults)
		if n > shown {
			faults = append(faults[:shown], "…")
		}
		return expect(fmt.Sprintf("no failed command but during %d troubles and %d minutes after each", len(w.troubles), minutes),
			"%d of %d failed beside them: %s", n, len(w.results), join(faults))
	}
	return nil
}
