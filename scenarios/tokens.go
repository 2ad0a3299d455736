package scenarios

import (
	"fmt"

	"github.com/google/uuid"

	"github.com/entracache/entracache/fakeentra"
)

// shapeTokens changes the shape of the application's tokens, and of the answers that carry them.
func (w *World) shapeTokens(change func(*fakeentra.TokenShape)) error {
	if w.app == nil {
		return fmt.Errorf("the step shapes the tokens of a service principal: it must come after it")
	}
	change(&w.shape)
	return w.app.SetTokenShape(w.shape)
}

func (w *World) answerSaysLives(minutes int) error {
	return w.shapeTokens(func(s *fakeentra.TokenShape) { s.ExpiresIn = w.span(minutes) })
}

func (w *World) answerSaysRenewed(minutes int) error {
	return w.shapeTokens(func(s *fakeentra.TokenShape) { s.RefreshIn = w.span(minutes) })
}

func (w *World) tokensWithGroups(n int) error {
	groups := make([]string, n)
	for i := range groups {
		groups[i] = uuid.NewString()
	}
	return w.tokensHold("groups", groups)
}

func (w *World) tokensNestingObjectID(claim string) error {
	return w.tokensHold(claim, map[string]string{"oid": uuid.NewString()})
}

func (w *World) tokensWithClaim(claim, text string) error { return w.tokensHold(claim, text) }

func (w *World) tokensHold(claim string, value any) error {
	return w.shapeTokens(func(s *fakeentra.TokenShape) {
		if s.Claims == nil {
			s.Claims = map[string]any{}
		}
		s.Claims[claim] = value
	})
}

func (w *World) tokensWithDefect(name string) error {
	defect, err := fakeentra.ParseDefect(name)
	if err != nil {
		return err
	}
	w.app.SetDefect(defect)
	return nil
}

func (w *World) tokensOfVersion2() error {
	return w.otherIssuer(fakeentra.WithTokenVersion(fakeentra.TokenV2))
}

func (w *World) tokensDatedBack(minutes int) error {
	return w.otherIssuer(fakeentra.WithBackdating(w.span(minutes)))
}

// sentAuthAtMost counts all sign-ins, the refused ones too. That there was none may be right: a client need not send what it knows to be bad.
func (w *World) sentAuthAtMost(n int) error {
	sent := 0
	for _, c := range connections(w.cache.Events()) {
		sent += len(c.signIns)
	}
	if sent > n {
		return expect(fmt.Sprintf("at most %d AUTH in %s", n, w.life(w.clock.Since(w.start))), "%d", sent)
	}
	return nil
}
