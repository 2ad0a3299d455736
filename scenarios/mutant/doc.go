// Package mutant has a small Redis client written for the scenarios, and copies of it with one deliberate bug each.
//
// The client without a bug is the reference: it does what every scenario asks, so a scenario that it fails is wrong. A mutant is
// the same client with one [Bug] switched on, and names the scenarios that must notice. The tests of this package play them:
// a scenario that no mutant fails tests nothing.
//
// The client speaks the driver protocol in the harness's own process. It is no library for anybody's use.
package mutant
