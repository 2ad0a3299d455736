// Package scenarios holds client libraries against the scenarios of package features and gives a verdict on each.
//
// The model: a [Catalogue] is read from feature files. A [Run] takes a catalogue, some client drivers and a [Lane] of time, and
// plays every scenario against every driver, each in a [World] of its own: a fresh fake cache on its own port, a fresh fake
// issuer with its own tenant and identities, one client inside the driver's process. Nothing is shared between two scenarios
// but the driver's process, so all of them can run side by side.
//
// Steps act through the driver as a user of the library would, and judge from the wire: from the events of the fake cache and
// the requests of the fake issuer. What the driver says counts only for what its user would see: a reply, an error, a message.
//
// Package protocol is the language spoken with a driver, package driver starts and stops one, package mutant has drivers with
// one deliberate bug each that prove the scenarios, and package report is what comes out.
package scenarios
