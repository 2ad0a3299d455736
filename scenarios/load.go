package scenarios

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/entracache/entracache/fakeserver"
)

// The steps that count connections, sign-ins and token requests.

// noTokenSentTwice looks at each connection by itself, at tokens that were accepted.
func (w *World) noTokenSentTwice() error {
	return w.everyConnection(signedIn(connections(w.cache.Events())), "each token once at most on each connection", func(c *connection) string {
		times := map[string]int{}
		for _, e := range c.accepted() {
			if e.Token == nil {
				continue
			}
			if times[e.Token.ID]++; times[e.Token.ID] > 1 {
				return fmt.Sprintf("connection %d sent the same token again at %s, with %s", c.id, w.at(e.Time), strings.ToUpper(e.Command))
			}
		}
		return ""
	})
}

// rebootsAndBack lets the client come back after each reboot.
func (w *World) rebootsAndBack(times int) error { return w.backEachTime(times, w.cacheReboots) }

// endsAndBack ends the connection that the client uses, and no other: what it leaves behind stays open.
func (w *World) endsAndBack(times int) error {
	return w.backEachTime(times, func() error {
		return w.meets(fakeserver.Fault{Action: fakeserver.FaultClose, Command: "ping", Times: 1})
	})
}

func (w *World) backEachTime(times int, trouble func() error) error {
	const minutes = 10
	for range times {
		if err := trouble(); err != nil {
			return err
		}
		if err := w.succeedsWithin(minutes, "PING"); err != nil {
			return err
		}
	}
	return nil
}

// noConnectionLeftBehind allows as many connections as were open after the last "has opened" step, or as the pool may have, and one more for
// subscriptions: a pool may have grown.
func (w *World) noConnectionLeftBehind(minutes int) error {
	allowed := max(len(w.openedIDs), w.request.Options.PoolSize+1)
	deadline := w.clock.Now().Add(w.lane.Patience(w.grace(minutes)))
	for {
		open := len(w.cache.Connections())
		if open <= allowed {
			return nil
		}
		if w.clock.Now().After(deadline) {
			return expect(fmt.Sprintf("no more than %d connections: as many as were open before, or as the client's pool may have", allowed), "%d", open)
		}
		if err := w.wait(w.lane.Patience(w.grace(minutes) / pollDivisor)); err != nil {
			return err
		}
	}
}

// renewalsSpread takes each token by itself: the first AUTH with it on any of the opened connections, and the last.
func (w *World) renewalsSpread(seconds int) error {
	expected := fmt.Sprintf("the AUTHs with one new token to be spread over at least %d seconds", seconds)
	first, last, count := map[string]time.Time{}, map[string]time.Time{}, map[string]int{}
	var tokens []string
	for _, c := range connections(w.cache.Events()) {
		if !slices.Contains(w.openedIDs, c.id) {
			continue
		}
		ok := c.accepted()
		for _, e := range ok {
			if e.Token == nil || ok[0].Token == nil || e.Token.ID == ok[0].Token.ID {
				continue // the token of the sign-in is no new one
			}
			id := e.Token.ID
			if count[id]++; count[id] == 1 {
				tokens = append(tokens, id)
				first[id] = e.Time
			}
			if e.Time.Before(first[id]) {
				first[id] = e.Time
			}
			if e.Time.After(last[id]) {
				last[id] = e.Time
			}
		}
	}
	several := 0
	for _, id := range tokens {
		if count[id] < 2 {
			continue
		}
		several++
		if spread := last[id].Sub(first[id]); spread < w.lane.World(time.Duration(seconds)*time.Second) {
			return expect(expected, "%d AUTHs between %s and %s", count[id], w.at(first[id]), w.at(last[id]))
		}
	}
	if several == 0 && len(tokens) < len(w.openedIDs) { // one token for each connection spreads them, too
		return expect(expected, "no token was sent on more than one of these connections")
	}
	return nil
}

// signInsPerSecond goes by the clock of the client, and so by the seconds that its pauses last.
func (w *World) signInsPerSecond(n int) error {
	list, err := w.signIns("a sign-in")
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b fakeserver.Event) int { return a.Time.Compare(b.Time) })
	from := 0
	for to := range list {
		for list[to].Time.Sub(list[from].Time) >= time.Second {
			from++
		}
		if to-from+1 > n {
			return expect(fmt.Sprintf("no more than %d sign-ins in any second", n), "%d in the second from %s on, %d in all", to-from+1, w.at(list[from].Time), len(list))
		}
	}
	return nil
}

// closingTakes is how long after close a request that was under way may still arrive.
const closingTakes = time.Second

func (w *World) noTokenSinceClosed() error {
	if w.closedAt.IsZero() {
		return fmt.Errorf("the step speaks of a client that was closed, but none was")
	}
	late := 0
	var last time.Time
	for _, r := range w.tokenRequests() {
		if r.Time.After(w.closedAt.Add(w.lane.Patience(closingTakes))) {
			late++
			last = r.Time
		}
	}
	if late > 0 {
		return expect("no token request by a client that is closed", "%d after %s, when it was closed, the last one at %s", late, w.at(w.closedAt), w.at(last))
	}
	return nil
}

func (w *World) noConnectionSinceClosed() error {
	if w.closedAt.IsZero() {
		return fmt.Errorf("the step speaks of a client that was closed, but none was")
	}
	for _, c := range connections(w.cache.Events()) {
		if c.opened.After(w.closedAt.Add(w.lane.Patience(closingTakes))) {
			return expect("no connection by a client that is closed", "connection %d was opened at %s, after it was closed at %s", c.id, w.at(c.opened), w.at(w.closedAt))
		}
	}
	return nil
}

func (w *World) noConnectionOpen() error {
	if open := w.cache.Connections(); len(open) > 0 {
		return expect("no connection of a client that is closed", "%d are open", len(open))
	}
	return nil
}
