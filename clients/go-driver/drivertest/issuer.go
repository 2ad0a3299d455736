package drivertest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/golang-jwt/jwt/v5"

	driver "github.com/entracache/entracache/clients/go-driver"
)

// Issuer stands in for Microsoft Entra. Its nth token lives for Lifetime, unless Fail says that the nth request fails.
type Issuer struct {
	Lifetime time.Duration
	Fail     func(request int) error
	Claims   jwt.MapClaims // nil: an object ID

	start time.Time

	mu       sync.Mutex
	requests []time.Duration // when, since the start
}

// Entra is what asks the issuer for tokens, from now on.
func (i *Issuer) Entra(username string) *driver.Entra {
	i.start = time.Now()
	return driver.EntraOf(func() (azcore.TokenCredential, error) { return i, nil }, []string{"scope"}, username)
}

// GetToken implements azcore.TokenCredential.
func (i *Issuer) GetToken(ctx context.Context, _ policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if err := ctx.Err(); err != nil {
		return azcore.AccessToken{}, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.requests = append(i.requests, time.Since(i.start))
	if i.Fail != nil {
		if err := i.Fail(len(i.requests)); err != nil {
			return azcore.AccessToken{}, err
		}
	}
	claims := jwt.MapClaims{"uti": fmt.Sprint(len(i.requests))}
	if i.Claims == nil {
		claims["oid"] = "the object ID"
	}
	maps.Copy(claims, i.Claims)
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte("key"))
	return azcore.AccessToken{Token: signed, ExpiresOn: time.Now().Add(i.Lifetime)}, err
}

// Requests says when tokens were asked for, since the start.
func (i *Issuer) Requests() []time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.requests)
}
