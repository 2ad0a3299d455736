package main

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	driver "github.com/entracache/entracache/clients/go-driver"
	"github.com/entracache/entracache/clients/go-driver/drivertest"
	"github.com/redis/rueidis"
)

func TestConnectionsShareATokenUntilItIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := &drivertest.Issuer{Lifetime: time.Hour}
		start := time.Now()
		c := &credentials{entra: issuer.Entra("")}
		first, err := c.get(rueidis.AuthCredentialsContext{})
		if err != nil || first.Username != "the object ID" {
			t.Fatalf("got %+v, %v, want the object ID as user name", first, err)
		}
		if after := first.RefreshAfter.Sub(start).Round(time.Second); after != 42*time.Minute {
			t.Errorf("the token is renewed after %v, want 42 minutes", after)
		}
		time.Sleep(41 * time.Minute)
		if again, err := c.get(rueidis.AuthCredentialsContext{}); err != nil || again != first {
			t.Errorf("a connection that was opened later got %+v, %v, want the first token", again, err)
		}

		time.Sleep(time.Until(first.RefreshAfter))
		renewed, err := c.get(rueidis.AuthCredentialsContext{})
		if err != nil || renewed.Password == first.Password {
			t.Errorf("at the time of renewal: got %+v, %v, want another token", renewed, err)
		}
		if again, _ := c.get(rueidis.AuthCredentialsContext{}); again != renewed {
			t.Errorf("another connection got %+v, want the renewed token", again)
		}
		if want := []time.Duration{0, first.RefreshAfter.Sub(start)}; !slices.Equal(issuer.Requests(), want) {
			t.Errorf("tokens were asked for at %v, want %v", issuer.Requests(), want)
		}
	})
}

func TestNoToken(t *testing.T) {
	outage := &drivertest.Issuer{Fail: func(int) error { return errors.New("503") }}
	c := &credentials{entra: outage.Entra("")}
	_, err := c.get(rueidis.AuthCredentialsContext{})
	if noToken := new(driver.TokenError); !errors.As(err, &noToken) {
		t.Errorf("got %v, want a TokenError", err)
	}
}
