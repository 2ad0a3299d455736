package scenarios

import (
	"fmt"
	"strings"
)

// mismatch is what a Then step returns when the library did not do what the step says: the library is wrong. Any other error of a
// step means that the driver or the harness is.
type mismatch struct {
	expected string
	actual   string
}

func (m *mismatch) Error() string {
	return fmt.Sprintf("expected %s; actual: %s", m.expected, m.actual)
}

// expect returns a mismatch; the expectation is written so that it reads after "expected".
func expect(expected, actualFormat string, args ...any) error {
	return &mismatch{expected: expected, actual: fmt.Sprintf(actualFormat, args...)}
}

// join lists at most five of the lines, and says how many more there are.
func join(lines []string) string {
	const most = 5
	if len(lines) > most {
		lines = append(lines[:most:most], fmt.Sprintf("and %d more", len(lines)-most))
	}
	return strings.Join(lines, "; ")
}
