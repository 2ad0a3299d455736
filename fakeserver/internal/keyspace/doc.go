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
// The engine is slow where clients measure: each command costs it a
// microsecond, LPUSH and APPEND copy what is there, and each tick of its clock
// walks over all keys. Two things keep that away, and both leave the engine the
// only one who decides what a command means:
//
//   - The values of strings and of long lists are held in front of it, as in a
//     write-back cache, and the commonest commands run on them there: see held.
//     The alternative, owning strings outright and handing a key over when
//     another command names it, was left: then KEYS, SCAN, DBSIZE, EXISTS, MOVE
//     and every check for another type would have had to look at two places,
//     and WATCH at two kinds of versions. Here a key is always in the engine,
//     and only its value may be newer in front.
//   - For the engine time stands still; deadlines are ours: see adjust.
//
// What stays slow: a sorted set is sorted anew by each command that asks for an
// order, and SPOP and SRANDMEMBER sort their set.
//
// Permissions are not this package's business: it runs what it is given.
package keyspace
