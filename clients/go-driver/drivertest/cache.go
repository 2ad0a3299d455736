package drivertest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
)

// Cache answers each command with the reply, in RESP, that Answer gives for the name of the command.
type Cache struct {
	Answer func(name string) string

	mu       sync.Mutex
	commands []string
}

// Dial opens a connection to the cache.
func (c *Cache) Dial() net.Conn {
	here, there := net.Pipe()
	replies := make(chan string, 100) // net.Pipe has no buffer, and a library writes on before it reads
	go func() {
		for reply := range replies {
			_, _ = io.WriteString(there, reply) // fails when the library has closed the connection
		}
		_ = there.Close() // of a pipe does not fail
	}()
	go func() {
		defer close(replies)
		for requests := bufio.NewReader(there); ; {
			args, err := readCommand(requests)
			if err != nil {
				return // the library has closed the connection
			}
			args[0] = strings.ToUpper(args[0])
			c.mu.Lock()
			c.commands = append(c.commands, strings.Join(args, " "))
			c.mu.Unlock()
			replies <- c.Answer(args[0])
		}
	}()
	return here
}

// Commands returns the commands that came so far, in their order, without what libraries send when they connect.
func (c *Cache) Commands() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.commands), func(command string) bool {
		name, _, _ := strings.Cut(command, " ")
		return name == "HELLO" || name == "CLIENT"
	})
}

// readCommand reads an array of bulk strings, in which there is no line end.
func readCommand(r *bufio.Reader) ([]string, error) {
	var n, length int
	if _, err := fmt.Fscanf(r, "*%d\r\n", &n); err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		if _, err := fmt.Fscanf(r, "$%d\r\n", &length); err != nil {
			return nil, err
		}
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		args[i] = strings.TrimSuffix(line, "\r\n")
	}
	return args, nil
}
