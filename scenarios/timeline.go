package scenarios

import (
	"fmt"
	"strings"
	"time"

	"github.com/entracache/entracache/fakeentra"
	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/scenarios/report"
)

// note is what the harness itself saw or did, with its time on the world's clock.
type note struct {
	at     time.Time
	source string
	text   string
}

// longestNote keeps a timeline readable; an INFO reply has hundreds of lines.
const longestNote = 200

func (w *World) note(source, text string) {
	if runes := []rune(strings.ReplaceAll(text, "\n", " ")); len(runes) > longestNote {
		text = string(runes[:longestNote]) + "…"
	} else {
		text = string(runes)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notes = append(w.notes, note{w.clock.Now(), source, text})
}

// timeline merges what the cache, the issuer, the driver and its stderr tell, in the scenario's time.
func (w *World) timeline() []report.Entry {
	var entries []report.Entry
	add := func(at time.Time, source, text string) {
		entries = append(entries, report.Entry{At: w.lane.Life(at.Sub(w.start)), Source: source, Text: text})
	}
	if w.cache != nil {
		for _, e := range w.cache.Events() {
			add(e.Time, "cache", w.describeEvent(e))
		}
	}
	if w.entra != nil {
		for _, r := range w.entra.Requests() {
			if r.Endpoint == fakeentra.EndpointToken || r.Endpoint == fakeentra.EndpointManagedIdentity || r.Status >= 400 || r.Status == 0 {
				add(r.Time, "entra", w.describeTokenRequest(r))
			}
		}
	}
	for _, e := range w.driver.Events(w.client) {
		text := fmt.Sprintf("→ %s", e.Kind)
		switch {
		case e.Channel != "":
			text += fmt.Sprintf(" on %q: %q", e.Channel, e.Value)
		case e.Error != nil:
			text += fmt.Sprintf(" %s: %s", e.What, e.Error)
		default:
			text += " " + e.What
		}
		add(e.Time, "driver", text)
	}
	w.mu.Lock()
	for _, n := range w.notes {
		add(n.at, n.source, n.text)
	}
	w.mu.Unlock()
	// The process is shared by all scenarios: among several, only a line that begins with our client's name is surely ours.
	end := w.clock.Now()
	for _, line := range w.driver.Stderr() {
		ours := w.alone || strings.HasPrefix(line.Text, w.client+":")
		if ours && !line.Time.Before(w.start) && !line.Time.After(end) {
			add(line.Time, "stderr", line.Text)
		}
	}
	return report.Merge(entries)
}

func (w *World) describeEvent(e fakeserver.Event) string {
	switch e.Kind {
	case fakeserver.EventConnectionOpened:
		return fmt.Sprintf("%d opened, %s", e.Conn, e.TLSVersion)
	case fakeserver.EventConnectionClosed:
		return fmt.Sprintf("%d ✕ closed: %s", e.Conn, e.Reason)
	case fakeserver.EventAuth:
		text := fmt.Sprintf("%d ← %s %s", e.Conn, strings.ToUpper(e.Command), w.short(e.User))
		if e.Token != nil {
			text += fmt.Sprintf(" %s (exp %s)", e.Token.Fingerprint, w.at(e.Token.Expires))
		}
		if e.Outcome == fakeserver.OutcomeOK {
			return text + " → ok"
		}
		return fmt.Sprintf("%s → refused: %s", text, e.Reason)
	default:
		text := string(e.Kind)
		if e.Conn != 0 {
			text = fmt.Sprintf("%d %s", e.Conn, text)
		}
		if e.Command != "" {
			text += " " + e.Command
		}
		if e.Detail != "" {
			text += ": " + e.Detail
		}
		return text
	}
}

func (w *World) describeTokenRequest(r fakeentra.Request) string {
	text := fmt.Sprintf("← %s", r.Endpoint)
	if r.Endpoint == fakeentra.EndpointToken {
		text = fmt.Sprintf("← %s %s%s", r.GrantType, r.Scope, r.Resource)
	}
	if r.Endpoint == fakeentra.EndpointManagedIdentity {
		text = fmt.Sprintf("← managed identity %s", r.Resource)
		if r.Cached {
			text += " (the same as before)"
		}
	}
	switch {
	case r.Outcome == fakeentra.OutcomeOutage:
		return "← connection → reset: the issuer is down"
	case r.Token != nil:
		return fmt.Sprintf("%s → %s (exp %s)", text, r.Token.Fingerprint, w.at(r.Token.Expires))
	case r.Error != "":
		return fmt.Sprintf("%s → HTTP %d %s", text, r.Status, r.Error)
	default:
		return fmt.Sprintf("%s → HTTP %d", text, r.Status)
	}
}

// short keeps enough of a GUID to tell two apart, and says which one it is where the mistake is classic.
func (w *World) short(user string) string {
	name := user
	if len(user) > 9 {
		name = user[:8] + "…"
	}
	if w.app != nil && user == w.app.ClientID {
		return name + " (the client ID)"
	}
	return name
}
