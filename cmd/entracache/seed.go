package main

import (
	"slices"

	"github.com/entracache/entracache/fakeentra"
)

// The seed of `serve`: the same at every start, so that configurations can name it. Documented in the README.
const (
	seedTenantID     = "e0000000-0000-4000-8000-000000000001"
	seedClientID     = "e0000000-0000-4000-8000-00000000c11e"
	seedObjectID     = "e0000000-0000-4000-8000-0000000000b1"
	seedClientSecret = "fake-secret-of-the-seed"

	// The machine's own managed identity, and the secret of its App Service and Azure ML endpoints.
	seedMachineClientID = "e0000000-0000-4000-8000-00000000c12e"
	seedMachineObjectID = "e0000000-0000-4000-8000-0000000000b2"
	seedMachineSecret   = "fake-secret-of-the-machine"

	seedUserObjectID = "e0000000-0000-4000-8000-0000000000b3"
	seedUserName     = "ada@fake-e0000000.onmicrosoft.com"
	seedUserPassword = "fake-secret-of-ada"
)

// sow registers the seed, and returns its application and the object IDs of all of it. A directory of one's own may have put another
// system-assigned identity in the place of the machine's.
func sow(entra *fakeentra.Server) (app *fakeentra.App, objectIDs []string, err error) {
	app, err = entra.AddApp("seed", fakeentra.WithClientID(seedClientID), fakeentra.WithObjectID(seedObjectID),
		fakeentra.WithClientSecret(seedClientSecret), fakeentra.WithPublicClient())
	if err != nil {
		return nil, nil, err
	}
	user, err := entra.AddUser("Ada", fakeentra.WithUserObjectID(seedUserObjectID), fakeentra.WithPrincipalName(seedUserName), fakeentra.WithPassword(seedUserPassword))
	if err != nil {
		return nil, nil, err
	}
	objectIDs = []string{app.ObjectID, user.ObjectID}
	if !slices.ContainsFunc(entra.DefaultTenant().ManagedIdentities(), func(m *fakeentra.ManagedIdentity) bool { return m.SystemAssigned }) {
		machine, err := entra.AddManagedIdentity("seed", fakeentra.WithSystemAssigned(),
			fakeentra.WithIdentityClientID(seedMachineClientID), fakeentra.WithIdentityObjectID(seedMachineObjectID))
		if err != nil {
			return nil, nil, err
		}
		objectIDs = append(objectIDs, machine.ObjectID)
	}
	return app, objectIDs, nil
}
