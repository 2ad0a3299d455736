package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// LineError says what is wrong with one line of the protocol.
type LineError struct {
	What    string // which message: "request open", "reply to hello", "event", "line"
	Field   string // the member at fault, such as driver.libraries[0].version; empty if the line as a whole is wrong
	Problem string
	Line    string // the line as [Show] shows it
}

// Error renders the error on one line.
func (e *LineError) Error() string {
	at := e.What
	if e.Field != "" {
		at += ": " + e.Field
	}
	return fmt.Sprintf("%s: %s; the line: %s", at, e.Problem, e.Line)
}

func lineError(what, field, problem string, raw []byte) error {
	return &LineError{What: what, Field: field, Problem: problem, Line: Show(raw)}
}

// Encode renders a message ([Request], [Reply] or [Event]) as a line, newline included, and validates it. For a reply use
// [EncodeReply]: what it must carry depends on the op that it answers.
func Encode(message any) ([]byte, error) {
	switch message := message.(type) {
	case Request:
		return encode("request "+string(message.Op), message, func(raw []byte) error { _, err := ParseRequest(raw); return err })
	case Event:
		return encode("event", message, func(raw []byte) error {
			line, err := ParseLine(raw)
			if err == nil {
				_, err = line.Event()
			}
			return err
		})
	default:
		return nil, fmt.Errorf("protocol: cannot encode a %T: expected a Request or an Event", message)
	}
}

// EncodeReply renders the answer to a request with the given op as a line, newline included, and validates it.
func EncodeReply(op Op, reply Reply) ([]byte, error) {
	return encode("reply to "+string(op), reply, func(raw []byte) error {
		line, err := ParseLine(raw)
		if err == nil {
			_, err = line.Reply(op)
		}
		return err
	})
}

func encode(what string, message any, validate func([]byte) error) ([]byte, error) {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false) // the transcript is read by people
	if err := encoder.Encode(message); err != nil {
		return nil, fmt.Errorf("%s cannot be written as JSON: %w", what, err)
	}
	if err := validate(bytes.TrimSuffix(line.Bytes(), []byte("\n"))); err != nil {
		return nil, err
	}
	return line.Bytes(), nil
}

// ParseRequest reads and validates a line from the harness. Drivers written in Go use it. The returned request carries the
// id, if there was one, even when the error is not nil, so that the driver can answer it.
func ParseRequest(raw []byte) (Request, error) {
	doc, problem := decodeLine(raw)
	if problem != "" {
		return Request{}, lineError("line", "", problem, raw)
	}
	op, _ := doc["op"].(string)
	what := "request " + op
	request := Request{ID: integer(doc["id"])}
	if field, problem := check(schemas().request, doc); problem != "" {
		return request, lineError(what, field, problem, raw)
	}
	if err := fill(doc, &request); err != nil {
		return request, lineError(what, "", err.Error(), raw)
	}
	return request, nil
}

// Line is a line from a driver of which only the outline is known: whether it is a reply, and to which request, or an event.
type Line struct {
	ID      int64 // of the request that it answers; 0 for an event
	IsEvent bool

	raw []byte
	doc map[string]any
}

// ParseLine reads the outline of a line from a driver, given without its newline. The line is not kept: raw may be reused
// once Reply or Event has returned.
func ParseLine(raw []byte) (Line, error) {
	doc, problem := decodeLine(raw)
	if problem != "" {
		return Line{}, lineError("line", "", problem, raw)
	}
	line := Line{raw: raw, doc: doc}
	_, line.IsEvent = doc["event"]
	if line.IsEvent {
		return line, nil
	}
	if _, ok := doc["id"]; !ok {
		return Line{}, lineError("line", "", `has neither "id" (a reply) nor "event"`, raw)
	}
	if line.ID = integer(doc["id"]); line.ID < 1 {
		return Line{}, lineError("reply", "id", "must be an integer of 1 or more", raw)
	}
	return line, nil
}

// Reply validates the line as an answer to a request with the given op.
func (l Line) Reply(op Op) (Reply, error) {
	what := "reply to " + string(op)
	if field, problem := check(schemas().replyTo(op), l.doc); problem != "" {
		return Reply{}, lineError(what, field, problem, l.raw)
	}
	var reply Reply
	if err := fill(l.doc, &reply); err != nil {
		return Reply{}, lineError(what, "", err.Error(), l.raw)
	}
	reply.Raw = bytes.Clone(l.raw)
	return reply, nil
}

// Event validates the line as an event.
func (l Line) Event() (Event, error) {
	if field, problem := check(schemas().event, l.doc); problem != "" {
		return Event{}, lineError("event", field, problem, l.raw)
	}
	var event Event
	if err := fill(l.doc, &event); err != nil {
		return Event{}, lineError("event", "", err.Error(), l.raw)
	}
	return event, nil
}

func decodeLine(raw []byte) (doc map[string]any, problem string) {
	switch {
	case len(bytes.TrimSpace(raw)) == 0:
		return nil, "empty"
	case len(raw) > MaxLine:
		return nil, fmt.Sprintf("has %d bytes, the limit is %d", len(raw), MaxLine)
	case !utf8.Valid(raw):
		return nil, "not UTF-8"
	}
	return decode(raw)
}

// integer is the value of a JSON number that Go reads as an int64, or 0.
func integer(v any) int64 {
	number, ok := v.(json.Number)
	if !ok {
		return 0
	}
	n, err := number.Int64()
	if err != nil {
		return 0
	}
	return n
}
