package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	driver "github.com/entracache/entracache/clients/go-driver"
	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/rueidis"
)

// issuer stands in for Microsoft Entra. Its tokens live for lifetime, unless err says that none can be had.
type issuer struct {
	lifetime time.Duration
	claims   jwt.MapClaims
	err      error

	start    time.Time
	requests []time.Duration // when, since the start
}

func (i *issuer) GetToken(ctx context.Context, _ policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if err := ctx.Err(); err != nil {
		return azcore.AccessToken{}, err
	}
	i.requests = append(i.requests, time.Since(i.start))
	if i.err != nil {
		return azcore.AccessToken{}, i.err
	}
	claims := jwt.MapClaims{"uti": fmt.Sprint(len(i.requests))}
	for name, value := range i.claims {
		claims[name] = value
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte("key"))
	return azcore.AccessToken{Token: signed, ExpiresOn: time.Now().Add(i.lifetime)}, err
}

func start(i *issuer, username string) *credentials {
	i.start = time.Now()
	if i.claims == nil {
		i.claims = jwt.MapClaims{"oid": "the object ID"}
	}
	return newCredentials(func() (azcore.TokenCredential, error) { return i, nil }, []string{"scope"}, username)
}

func TestConnectionsShareATokenUntilItIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := &issuer{lifetime: time.Hour}
		c := start(issuer, "")
		first, err := c.get(rueidis.AuthCredentialsContext{})
		if err != nil || first.Username != "the object ID" {
			t.Fatalf("got %+v, %v, want the object ID as user name", first, err)
		}
		if after := first.RefreshAfter.Sub(issuer.start).Round(time.Second); after != 42*time.Minute {
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
		if want := []time.Duration{0, first.RefreshAfter.Sub(issuer.start)}; !slices.Equal(issuer.requests, want) {
			t.Errorf("tokens were asked for at %v, want %v", issuer.requests, want)
		}
	})
}

func TestTheApplicationMaySetTheUserName(t *testing.T) {
	got, err := start(&issuer{lifetime: time.Hour, claims: jwt.MapClaims{}}, "by hand").get(rueidis.AuthCredentialsContext{})
	if err != nil || got.Username != "by hand" {
		t.Errorf("got %+v, %v, want the user name that was set", got, err)
	}
}

func TestNoUsableToken(t *testing.T) {
	closed := start(&issuer{lifetime: time.Hour}, "")
	closed.Close()
	for name, c := range map[string]*credentials{
		"outage":            start(&issuer{err: errors.New("503")}, ""),
		"expired":           start(&issuer{lifetime: -time.Minute}, ""),
		"without object ID": start(&issuer{lifetime: time.Hour, claims: jwt.MapClaims{"sub": "x"}}, ""),
		"closed":            closed,
	} {
		_, err := c.get(rueidis.AuthCredentialsContext{})
		if noToken := new(driver.TokenError); !errors.As(err, &noToken) {
			t.Errorf("%s: got %v, want a TokenError", name, err)
		}
	}
}
