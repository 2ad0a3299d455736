package scenarios

import (
	"fmt"
	"strings"
	"time"

	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/scenarios/protocol"
)

// The steps about transactions.

func (w *World) hasBegunTransaction(commands string) error { return w.hasBegunWatching(commands, "") }

func (w *World) hasBegunWatching(commands, key string) error {
	failed, err := w.ensureOpen()
	if err != nil {
		return err
	}
	if failed != nil {
		return expect("the client to begin a transaction", "open failed: %s", failed.Error())
	}
	w.transaction = nil
	for command := range strings.SplitSeq(commands, ";") {
		w.transaction = append(w.transaction, strings.Fields(command))
	}
	var watch []string
	if key != "" {
		watch = []string{key}
	}
	reply, err := w.call(protocol.Begin(w.client, watch, w.transaction...))
	if err != nil {
		return err
	}
	if !reply.OK {
		return expect("the client to begin a transaction", "begin failed: %s", reply.Error.Error())
	}
	w.rememberOpen()
	return nil
}

// moment is long enough, on the wall clock, for a client to hand a new token on to its connections, and short enough for no connection
// to end of old age.
const moment = 500 * time.Millisecond

// newTokenHasCome waits for the issuer to give out another token. A library that does not ask within a token's life never will.
func (w *World) newTokenHasCome() error {
	issued := func() int {
		n := 0
		for _, r := range w.tokenRequests() {
			if r.Token != nil {
				n++
			}
		}
		return n
	}
	before := issued()
	deadline := w.clock.After(w.span(75))
	for issued() == before {
		select {
		case <-deadline:
			return expect("the client to get another token within the life of the first", "none")
		case <-w.clock.After(w.span(75) / 500):
		case <-w.ctx.Done():
			return w.ctx.Err()
		}
	}
	return w.wait(w.lane.Patience(moment))
}

func (w *World) endsTransaction() error {
	reply, err := w.call(protocol.Exec(w.client))
	w.last = outcome{command: "EXEC", at: w.clock.Now(), value: reply.Value, err: reply.Error}
	return err
}

func (w *World) transactionAnswers(text string) error {
	expected := fmt.Sprintf("the transaction to answer %q", text)
	if w.last.err != nil || w.last.value.Type != protocol.TypeArray {
		return expect(expected, "%s", w.last)
	}
	var replies []string
	for _, item := range w.last.value.Items {
		replies = append(replies, item.Plain())
	}
	if got := strings.Join(replies, ", "); got != text {
		return expect(expected, "%q", got)
	}
	return nil
}

// transactionNotRun takes an error for a no, too: a library may say so by one.
func (w *World) transactionNotRun() error {
	if w.last.err == nil && w.last.value.Type != protocol.TypeNull {
		return expect("the client to say that the transaction was not run", "%s", w.last)
	}
	return nil
}

// transactionTold looks at the keys of the transaction, each of which it adds 1 to.
func (w *World) transactionTold() error {
	ran := -1
	for _, args := range w.transaction {
		n, err := w.numberAt(args[1])
		if err != nil {
			return err
		}
		if ran >= 0 && n != ran {
			return expect("the transaction to run as a whole, or not at all", "%s was run %d times, but the command before it %d times", strings.Join(args, " "), n, ran)
		}
		ran = n
	}
	switch {
	case ran > 1:
		return expect("the transaction to run once at most", "it ran %d times; %s", ran, w.last)
	case w.last.err == nil && w.last.value.Type == protocol.TypeArray && ran == 0:
		return expect("an error, for the transaction did not run", "%s", w.last)
	case w.last.err == nil && w.last.value.Type == protocol.TypeNull && ran == 1:
		return expect("no word that the transaction was not run, for it was", "%s", w.last)
	}
	return nil
}

// leavesUnanswered makes the cache run the command, and close the connection instead of answering it.
func (w *World) leavesUnanswered(command string) error {
	return w.meets(fakeserver.Fault{Action: fakeserver.FaultTruncate, Then: fakeserver.FaultClose, Command: strings.ToLower(command), Times: 1})
}

func (w *World) leftUnanswered(command string) error {
	if w.fault == nil {
		return fmt.Errorf("the step needs a fault that was set before it")
	}
	if w.fault.Fired() == 0 {
		return expect("the client to send "+command, "it has sent none")
	}
	return nil
}
