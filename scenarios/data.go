package scenarios

import (
	"fmt"
	"strconv"
	"strings"
)

// The steps that look at the data of the cache, and change it as somebody else would. They use no connection of the client's.

func (w *World) othersSet(key, value string) error { return w.keyHolds(key, value) }

// stored is the text under a key; ok is false if there is none.
func (w *World) stored(key string) (text string, ok bool, err error) {
	reply, err := w.cache.Do("GET", key)
	if err != nil {
		return "", false, err
	}
	length, rest, _ := strings.Cut(reply, "\r\n") // of RESP2: "$5\r\nhello\r\n", or "$-1\r\n"
	return strings.TrimSuffix(rest, "\r\n"), length != "$-1", nil
}

func (w *World) cacheHolds(value, key string) error {
	text, ok, err := w.stored(key)
	switch {
	case err != nil:
		return err
	case !ok:
		return expect(fmt.Sprintf("%q under %q in the cache", value, key), "nothing")
	case text != value:
		return expect(fmt.Sprintf("%q under %q in the cache", value, key), "%q", text)
	}
	return nil
}

func (w *World) cacheHoldsNothing(key string) error {
	text, ok, err := w.stored(key)
	if err == nil && ok {
		return expect(fmt.Sprintf("nothing under %q in the cache", key), "%q", text)
	}
	return err
}

// numberAt is the number under a key, or 0 if there is none.
func (w *World) numberAt(key string) (int, error) {
	text, ok, err := w.stored(key)
	if err != nil || !ok {
		return 0, err
	}
	return strconv.Atoi(text)
}

// addsEvery collects the outcomes; the reboots come at even distances between two additions.
func (w *World) addsEvery(key string, interval, duration, reboots int) error {
	n := duration / interval
	for i := range n {
		if i > 0 && i%(n/(reboots+1)) == 0 && i/(n/(reboots+1)) <= reboots {
			if err := w.cacheReboots(); err != nil {
				return err
			}
		}
		next := w.clock.Now().Add(w.span(interval))
		o, err := w.doLine("INCR " + key)
		if err != nil {
			return err
		}
		w.results = append(w.results, o)
		if err := w.wait(max(0, next.Sub(w.clock.Now()))); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) acknowledgedMade(key string) error {
	made, err := w.numberAt(key)
	if err != nil {
		return err
	}
	acknowledged := 0
	for _, o := range w.results {
		if o.err == nil {
			acknowledged++
		}
	}
	switch {
	case len(w.results) == 0:
		return fmt.Errorf("the step speaks of additions, but there was none before it")
	case acknowledged > made:
		return expect("every addition that was acknowledged to be made", "%d of %d were acknowledged, and %d made", acknowledged, len(w.results), made)
	}
	return nil
}
