package driver_test

import (
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/entracache/entracache/clients/go-driver/drivertest"
)

func TestTokens(t *testing.T) {
	without := jwt.MapClaims{"sub": "x"}
	for name, test := range map[string]struct {
		issuer   *drivertest.Issuer
		username string
		want     string // the user name, or "" where the token is of no use
	}{
		"the user name is the object ID":        {&drivertest.Issuer{Lifetime: time.Hour}, "", "the object ID"},
		"the application may set it":            {&drivertest.Issuer{Lifetime: time.Hour}, "by hand", "by hand"},
		"and then an object ID is not missed":   {&drivertest.Issuer{Lifetime: time.Hour, Claims: without}, "by hand", "by hand"},
		"a token without object ID":             {&drivertest.Issuer{Lifetime: time.Hour, Claims: without}, "", ""},
		"a token that has expired when it came": {&drivertest.Issuer{Lifetime: -time.Minute}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.issuer.Entra(test.username).Token(t.Context())
			if got.Username != test.want || (err == nil) != (test.want != "") {
				t.Fatalf("got %+v, %v, want the user name %q", got, err, test.want)
			}
			if err == nil && (got.AccessToken == "" || got.Lifetime > time.Hour || time.Until(got.Expires) > got.Lifetime) {
				t.Errorf("got %+v, want a token that lives for an hour", got)
			}
		})
	}
}

func TestTheLastClientEndsTheRequests(t *testing.T) {
	issuer := &drivertest.Issuer{Lifetime: time.Hour}
	e := issuer.Entra("")
	second := e.Share()
	e.Close()
	if _, err := second.Token(second.Life()); err != nil {
		t.Errorf("the other client is open, and has no token: %v", err)
	}
	second.Close()
	if _, err := second.Token(second.Life()); err == nil {
		t.Error("a token came after the last client was closed")
	}
}
