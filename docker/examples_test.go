package docker_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"

	"github.com/redis/go-redis/v9"
	"github.com/testcontainers/testcontainers-go"

	"github.com/entracache/entracache/docker"
)

// The application under test gets the address, the authority, the identity and the CA; here a plain client signs in with a token
// that it was given.
func ExampleRun() {
	ctx := context.Background()
	pair, err := docker.Run(ctx, "entracache")
	defer func() {
		if err := testcontainers.TerminateContainer(pair); err != nil {
			log.Printf("terminate the container: %v", err)
		}
	}()
	if err != nil {
		log.Printf("start the container: %v", err)
		return
	}

	addr, err := pair.CacheAddr(ctx)
	if err != nil {
		log.Printf("where is the cache: %v", err)
		return
	}
	identity, err := pair.Identity(ctx)
	if err != nil {
		log.Printf("who may sign in: %v", err)
		return
	}
	caPEM, err := pair.CAPEM(ctx)
	if err != nil {
		log.Printf("whom to trust: %v", err)
		return
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(caPEM)

	client := redis.NewClient(&redis.Options{
		Addr:      addr,
		TLSConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		CredentialsProviderContext: func(ctx context.Context) (username, password string, err error) {
			token, err := signIn(ctx, pair) // with azidentity, as docker_test.go shows
			return identity.ObjectID, token, err
		},
	})
	defer client.Close()
	fmt.Println(client.Ping(ctx).Val())
}
