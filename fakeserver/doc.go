// Package fakeserver is a fake Azure Cache for Redis for tests: real Redis
// protocol over real TLS, with the service's way of signing in.
//
// A Server listens on a loopback port. A client signs in with an access key, or
// with AUTH <object id> <token>, where the token is a Microsoft Entra access
// token of the issuer that the server was told to trust and the object ID has
// an access policy assigned. The connection is closed when the token expires,
// unless a new one was presented in time; what may be run on it is decided by
// the policy, command by command.
//
// What a client did is judged from Events: an append-only log of what happened
// on the wire. Refusals look alike to the client, as they do on the service;
// their reason is in the log.
//
// A cache has nodes: one, a primary with a replica to take over, or, with
// WithShards, the primaries and replicas of a cluster, each with ports of its
// own. They reboot, fail over, are patched and scaled by methods of Server too,
// and [Server.Nodes] tells how they are.
//
// The state of the cache is changed by methods of Server (Assign,
// DisableAccessKeys, Reboot …), each with its effect on live connections.
//
// Trouble is set with AddFault: counted, never by chance, for commands and for
// connections that are being opened. Reset puts everything back.
//
// All time is read from one clock, which package clock can freeze, advance and
// scale while the server runs. With WithInMemory and Dial the server works inside
// a testing/synctest bubble.
//
// A request takes one way through the package, and each step may refuse it:
// listener (TLS) → internal/resp (framing and limits) → redcon → dispatch
// (lookup, blocked, arity, authenticated, permitted, context) → a command of
// ours or, for data, internal/keyspace.
//
// It is a fake: never run it where real data or real tokens are.
package fakeserver
