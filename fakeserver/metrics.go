package fakeserver

import "sync/atomic"

// ErrorKind is a value of the service's metric Errors (azure-docs
// monitor-cache-reference.md). Those that nothing here leads to are left out.
type ErrorKind string

// The kinds of errors.
const (
	// ErrorEntraAuthenticationFailure is an "authentication failure using
	// Microsoft Entra access token": a refused AUTH or HELLO whose password was
	// a token.
	ErrorEntraAuthenticationFailure ErrorKind = "MicrosoftEntraAuthenticationFailure"
	// ErrorEntraTokenExpired is counted "when a Microsoft Entra access token used
	// for authentication isn't renewed and it expires": for each connection that
	// its token's end has closed.
	ErrorEntraTokenExpired ErrorKind = "MicrosoftEntraTokenExpired"
	// ErrorAADAuthenticationFailure and ErrorAADTokenExpired are the earlier
	// names of the two, which the documentation calls deprecated. They are
	// counted beside the present ones, so a sum over all kinds counts twice;
	// whether the service still counts them has no source.
	ErrorAADAuthenticationFailure ErrorKind = "AADAuthenticationFailure"
	ErrorAADTokenExpired          ErrorKind = "AADTokenExpired"
	// ErrorUnresponsiveClients is a client that does not read fast enough: here, a
	// subscriber that was cut at WithPubSubBufferLimit; on the service, whose
	// output buffer "goes over 1,000,000 bytes".
	ErrorUnresponsiveClients ErrorKind = "UnresponsiveClients"
	// ErrorFailover is "when a cache fails over (subordinate promotes to
	// primary)": counted for each shard.
	ErrorFailover ErrorKind = "Failover"
	// ErrorDataloss is "when there's data loss on the cache": counted for each
	// shard that loses what it held.
	ErrorDataloss ErrorKind = "Dataloss"
)

// Metrics are what the service's monitoring tells of clients, by the names in
// azure-docs monitor-cache-reference.md. Counters count from the start of the
// server; the service shows their rates.
type Metrics struct {
	// ConnectedClients and, of them, those whose present identity is a token's:
	// "Connected Clients" and "Connected Clients Using Microsoft Entra Token".
	// Access keys may be disabled once they are equal, says the documentation.
	ConnectedClients                         int
	ConnectedClientsUsingMicrosoftEntraToken int
	// ConnectionsCreated and ConnectionsClosed count connections from the end of
	// the TLS handshake on.
	ConnectionsCreated int64
	ConnectionsClosed  int64
	// Errors counts every kind, 0 included.
	Errors map[ErrorKind]int64
}

// counts are the counters behind Metrics. They follow the events, so that the
// two never disagree.
type counts struct {
	created, closed, refusedTokens, expiredTokens, unresponsive, failovers, dataLost atomic.Int64
}

func (n *counts) count(e *Event) {
	switch e.Kind {
	case EventConnectionOpened:
		n.created.Add(1)
	case EventConnectionClosed:
		n.closed.Add(1)
		switch e.Reason {
		case ReasonTokenExpired:
			n.expiredTokens.Add(1)
		case ReasonSlowSubscriber:
			n.unresponsive.Add(1)
		}
	case EventFailoverComplete:
		n.failovers.Add(1)
	case EventDataLost:
		n.dataLost.Add(1)
	case EventAuth:
		if e.Outcome == OutcomeRefused && e.Token != nil {
			n.refusedTokens.Add(1)
		}
	}
}

// Metrics tells the present values. Package metrics serves them to Prometheus.
func (s *Server) Metrics() Metrics {
	m := Metrics{
		ConnectionsCreated: s.counts.created.Load(), ConnectionsClosed: s.counts.closed.Load(),
		Errors: map[ErrorKind]int64{
			ErrorEntraAuthenticationFailure: s.counts.refusedTokens.Load(), ErrorAADAuthenticationFailure: s.counts.refusedTokens.Load(),
			ErrorEntraTokenExpired: s.counts.expiredTokens.Load(), ErrorAADTokenExpired: s.counts.expiredTokens.Load(),
			ErrorUnresponsiveClients: s.counts.unresponsive.Load(), ErrorFailover: s.counts.failovers.Load(), ErrorDataloss: s.counts.dataLost.Load(),
		},
	}
	for _, c := range s.connections() {
		m.ConnectedClients++
		if id := c.identity.Load(); id != nil && id.kind == AuthToken {
			m.ConnectedClientsUsingMicrosoftEntraToken++
		}
	}
	return m
}
