// Package keyspace holds the data of the fake cache and runs the data
// commands on it.
//
// The commands themselves are those of an embedded engine, miniredis, which
// is never given a listener: its dispatcher is called directly. What is ours is
// everything around a single command: one lock for the whole keyspace, so that
// a command and a transaction are atomic; a clock that expires keys; blocking
// commands as a queue of waiters, who are served in the order in which they
// came; WATCH; and a look at every call that a script makes.
//
// Permissions are not this package's business: it runs what it is given.
package keyspace
