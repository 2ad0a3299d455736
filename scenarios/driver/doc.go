// Package driver finds, prepares, starts, talks to and stops client drivers.
//
// The model: a driver is one long-lived process that speaks the protocol of package protocol on its standard input and
// output. Where it comes from is a [Target]: a folder under clients/ ([Load], then [Config.Probe] and [Config.Prepare]), any
// command ([Exec]), or a Go function in this process ([InProcess]). [Start] brings it up and shakes hands; from then on
// [Driver.Call] may be used from many goroutines at once, events gather in one log per client, and every line in both
// directions is validated. [Driver.Stop] ends it, by force if need be. [Doctor] holds a driver against the protocol's rules.
//
// Whose fault a failure is stands in its type. [*DriverError]: the driver broke the protocol, crashed or hung.
// [*HarnessError]: we did. A library's own failure is neither: it is a reply with ok false, and under test.
package driver
