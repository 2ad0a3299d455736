// Package resp is the wire of the fake cache: what comes in is framed and limited as Redis does it, what goes out is
// encoded for RESP2 or RESP3.
//
// The incoming half is [Guard], a net.Conn that stands between the socket (or TLS connection) and redcon. redcon 1.6.4
// can be crashed, kept spinning or filled up by a few bytes sent before AUTH, so it never sees what a client sent: it
// reads from a Guard, and a Guard emits nothing but well-formed commands of the form *N\r\n$len\r\n…\r\n. The guard
// finds where each command ends, enforces the limits, turns inline commands into that form, drops what Redis ignores,
// and answers what Redis refuses with Redis' own "Protocol error" before it ends the stream. A command that breaks off
// in the middle is never completed, so redcon never runs it.
//
// The outgoing half is a set of append functions (AppendBulk, AppendMap …), which take the connection's protocol
// version where RESP2 and RESP3 differ, and [Value] with [Parse] and [SplitReply] for replies that arrive as bytes,
// from the data engine or in tests.
//
// Framing and error texts follow processInlineBuffer and processMultibulkBuffer of Redis 6.0.20 and were compared with
// a running Redis 7.0.15, whose framing differs only in [Limits.Args].
package resp
