package scenarios

import (
	"fmt"
	"strings"
	"time"

	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/scenarios/protocol"
)

// The steps about transactions.

func (w *World) hasBegunWatching(commands, key string) error {
	if err := w.begin(commands, key); err != nil {
		return err
	}
	if w.last.err != nil {
		return expect("the client to begin a transaction", "%s", w.last)
	}
	w.rememberOpen()
	return nil
}

// triesTransaction takes an error at any point for the outcome.
func (w *World) triesTransaction(commands string) error {
	if err := w.begin(commands, ""); err != nil || w.last.err != nil {
		return err
	}
	return w.endsTransaction()
}

// begin begins a transaction of commands that are separated by semicolons, and watches a key, unless that is "".
func (w *World) begin(commands, key string) error {
	w.last = outcome{command: "begin of the transaction", at: w.clock.Now()}
	failed, err := w.ensureOpen()
	if err != nil || failed != nil {
		w.last.err = failed
		return err
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
	w.last.err = reply.Error
	return err
}

func (w *World) endsTransaction() error {
	reply, err := w.call(protocol.Exec(w.client))
	w.last = outcome{command: "EXEC", at: w.clock.Now(), value: reply.Value, err: reply.Error}
	return err
}

func (w *World) transactsUntilToken(commands string) error {
	return w.transactsWatchingUntilToken(commands, "")
}

// How long a transaction is open on the wall clock: less than any library waits for a reply. What is left of it when a token comes is long
// enough for a client to hand that on to its connections.
const (
	transactionOpen = 300 * time.Millisecond
	moment          = 500 * time.Millisecond
)

// transactsWatchingUntilToken leaves the last transaction open. A token may come between two of them, but hardly each time.
func (w *World) transactsWatchingUntilToken(commands, key string) error {
	const most = 200 // minutes: three renewals or four
	for deadline := w.clock.Now().Add(w.span(most)); w.clock.Now().Before(deadline); {
		before := w.tokensIssued()
		if err := w.hasBegunWatching(commands, key); err != nil {
			return err
		}
		if w.tokensIssued() == before { // otherwise it may have come before MULTI
			for end := w.clock.Now().Add(w.lane.Patience(transactionOpen)); w.clock.Now().Before(end); {
				if w.tokensIssued() > before {
					return w.wait(w.lane.Patience(moment))
				}
				if err := w.wait(w.lane.Patience(transactionOpen / 20)); err != nil {
					return err
				}
			}
		}
		if err := w.endsTransaction(); err != nil {
			return err
		}
		if w.last.err != nil || w.last.value.Type != protocol.TypeArray {
			return expect("each transaction to be run", "%s", w.last)
		}
	}
	return expect(fmt.Sprintf("the client to get new tokens within %d minutes", most), "%d in all", w.tokensIssued())
}

func (w *World) tokensIssued() int {
	n := 0
	for _, r := range w.tokenRequests() {
		if r.Token != nil {
			n++
		}
	}
	return n
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

// endsAt makes the cache close the connection instead of running the n-th command of that name.
func (w *World) endsAt(n int, command string) error {
	return w.meets(fakeserver.Fault{Action: fakeserver.FaultClose, Command: strings.ToLower(command), After: n - 1, Times: 1})
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
