// Command program is the reference client, or with the name of a bug as its argument a mutant, in a process of its own. The virtual lane
// cannot make time pass faster for a function in the harness's own process.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/entracache/entracache/scenarios/mutant"
)

func main() {
	bug := mutant.None
	if len(os.Args) > 1 {
		bug = mutant.Bug(os.Args[1])
	}
	if err := mutant.Serve(bug)(context.Background(), os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
