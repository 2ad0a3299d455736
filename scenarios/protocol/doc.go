// Package protocol is the language that the harness and a client driver speak: JSON lines on the driver's standard input
// and output.
//
// The model: the harness sends [Request] lines, each with an id and an op; the driver answers each with one [Reply] line
// that carries the same id, in any order; between replies it may send [Event] lines, which carry no id. Every line is one
// JSON object in UTF-8 of at most [MaxLine] bytes. An absent member and one that is null mean the same, and members that
// the receiver does not know are ignored.
//
// The *.schema.json files next to this text define the messages; they are embedded and applied to every line in both
// directions by [Encode], [ParseRequest], [Line.Reply] and [Line.Event], so the schemas and not the Go
// types are the law. A line that breaks it is reported as a [*LineError] that names the field and shows the line,
// shortened and with tokens and secrets replaced.
package protocol
