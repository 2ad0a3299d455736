// Command rueidis is entracache's driver for github.com/redis/rueidis. Each client that the harness names is one rueidis.Client, so what
// the driver reports is what a user of the library would see; client.go wires the library up, credentials.go is the application's part in
// signing in with Microsoft Entra, transaction.go runs transactions, failure.go describes errors.
package main

import (
	"log"

	driver "github.com/entracache/entracache/clients/go-driver"
)

var library = driver.Library{
	Name: "rueidis",
	Modules: []string{
		"github.com/redis/rueidis",
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

func main() {
	log.SetFlags(0) // so that a line begins with the name of the client that it is about
	driver.Main(library)
}
