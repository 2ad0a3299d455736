package driver

import "fmt"

// DriverError says that a driver, not the library it wraps, is at fault. It is one line and names the driver.
type DriverError struct {
	Driver  string
	Problem string
	Err     error // what lies beneath, such as a *protocol.LineError or context.DeadlineExceeded; may be nil
}

func (e *DriverError) Error() string { return fmt.Sprintf("driver %s: %s", e.Driver, e.Problem) }

func (e *DriverError) Unwrap() error { return e.Err }

// HarnessError says that the harness itself is at fault: it was about to send a message that its own schema forbids.
type HarnessError struct {
	Problem string
	Err     error
}

func (e *HarnessError) Error() string { return "harness error: " + e.Problem }

func (e *HarnessError) Unwrap() error { return e.Err }

// AbsentError says that a client cannot be run on this machine because its language's runtime is missing, too old, or does
// not work. It is a reason not to run the client, not a failure of it.
type AbsentError struct {
	Client string
	Reason string // what is needed, what was found, how to get it
}

func (e *AbsentError) Error() string {
	return fmt.Sprintf("client %s is not run: %s", e.Client, e.Reason)
}
