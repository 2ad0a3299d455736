// Command go-redis is entracache's driver for github.com/redis/go-redis. Each client that the harness names is one redis.Client, or
// redis.ClusterClient, so what the driver reports is what a user of the library would see; client.go wires the library up, provider.go is
// the sample application's part in signing in with Microsoft Entra, failure.go describes errors.
package main

import (
	driver "github.com/entracache/entracache/clients/go-driver"
)

var library = driver.Library{
	Name: "go-redis",
	Modules: []string{
		"github.com/redis/go-redis/v9",
		"github.com/Azure/azure-sdk-for-go/sdk/azidentity",
		"github.com/Azure/azure-sdk-for-go/sdk/azcore",
		"github.com/AzureAD/microsoft-authentication-library-for-go",
	},
	Capabilities: []string{
		"credential:client-secret", "credential:access-key", "credential:managed-identity", "credential:certificate",
		"credential:workload-identity", "credential:username",
		"resp2", "resp3", "pubsub", "pool", "blocking", "tls:custom-ca", "cluster",
		"transactions", "transactions:watch", "shared-provider",
	},
	Open:     func(r driver.Request, other driver.Client) (driver.Client, error) { return newClient(r, other) },
	Describe: describe,
}

func main() { driver.Main(library) }
