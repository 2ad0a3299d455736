package mutant

import (
	"context"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/entracache/entracache/scenarios/protocol"
)

// slotRange is a part of the slots of a clustered cache, and the primary that serves them.
type slotRange struct {
	first, last int
	addr        string
}

// maxAttempts bounds how often a command is sent for one call: there is a redirection for a slot that moved, another for a key that is
// ahead of its slot, and the connection to a node that is gone.
const maxAttempts = 6

// inCluster runs a command on the node that serves its key, wherever the nodes send it.
func (c *client) inCluster(ctx context.Context, args []string) (protocol.Value, error) {
	addr, err := c.nodeFor(ctx, args)
	if err != nil {
		return protocol.Value{}, err
	}
	var v protocol.Value
	asking := false
	for range maxAttempts {
		v, err = c.attempt(ctx, addr, asking, args)
		asking = false
		word, to := redirection(v)
		switch {
		case err != nil && (c.bug == NeverRereadsSlots || c.bug == NeverReconnects):
			return v, err
		case err != nil: // the node may be gone: another says who serves the key now
			c.forgetSlots()
			next, unknown := c.nodeFor(ctx, args)
			if unknown != nil {
				return v, err
			}
			addr = next
		case word == "MOVED" && c.bug != NeverFollowsMoved:
			c.forgetSlots()
			addr = to
		case word == "ASK":
			addr, asking = to, c.bug != ForgetsAsking
		default:
			return v, nil
		}
	}
	return v, err
}

// redirection is the word and the address of a reply such as "MOVED 3999 127.0.0.1:6381"; both are empty for any other.
func redirection(v protocol.Value) (word, addr string) {
	if words := strings.Fields(v.Text); v.Type == protocol.TypeError && len(words) == 3 && (words[0] == "MOVED" || words[0] == "ASK") {
		return words[0], words[2]
	}
	return "", ""
}

// nodeFor is the address of the node that serves the key of a command. One without a key goes to the first.
func (c *client) nodeFor(ctx context.Context, args []string) (string, error) {
	slots, err := c.knownSlots(ctx)
	if err != nil {
		return "", err
	}
	if len(args) > 1 {
		slot := slotOf(args[1])
		for _, r := range slots {
			if r.first <= slot && slot <= r.last {
				return r.addr, nil
			}
		}
	}
	return slots[0].addr, nil
}

// knownSlots are the slots as CLUSTER SLOTS told them, by the first node that answers.
func (c *client) knownSlots(ctx context.Context) ([]slotRange, error) {
	c.mu.Lock()
	known, nodes := c.slots, append([]string{c.seed()}, c.nodes...)
	c.mu.Unlock()
	if known != nil {
		return known, nil
	}
	var failure error
	for _, addr := range nodes {
		v, err := c.attempt(ctx, addr, false, []string{"CLUSTER", "SLOTS"})
		if err == nil && v.Type == protocol.TypeError {
			err = &serverError{v.Text}
		}
		if err != nil {
			failure = err
			continue
		}
		slots, nodes := parseSlots(v)
		if len(slots) == 0 {
			continue
		}
		c.mu.Lock()
		c.slots, c.nodes = slots, nodes
		c.mu.Unlock()
		return slots, nil
	}
	if failure == nil {
		failure = &serverError{"no node serves any slot"}
	}
	return nil, failure
}

func (c *client) forgetSlots() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bug != NeverRereadsSlots {
		c.slots = nil
	}
}

// parseSlots reads the reply to CLUSTER SLOTS: for each range its first and last slot and its nodes, the primary first.
func parseSlots(v protocol.Value) (slots []slotRange, nodes []string) {
	for _, item := range v.Items {
		if len(item.Items) < 3 {
			continue
		}
		for i, node := range item.Items[2:] {
			if len(node.Items) < 2 {
				continue
			}
			addr := net.JoinHostPort(node.Items[0].Text, strconv.FormatInt(node.Items[1].Int, 10))
			if i == 0 {
				slots = append(slots, slotRange{int(item.Items[0].Int), int(item.Items[1].Int), addr})
			}
			if !slices.Contains(nodes, addr) {
				nodes = append(nodes, addr)
			}
		}
	}
	return slots, nodes
}

// slotOf is the slot of a key: CRC-16/XMODEM of the key, or of the part in its first braces.
func slotOf(key string) int {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			key = tag
		}
	}
	var crc uint16
	for _, b := range []byte(key) {
		crc ^= uint16(b) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc % 16384)
}
