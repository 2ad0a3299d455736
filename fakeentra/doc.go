// Package fakeentra is a fake Microsoft Entra token issuer for tests. It speaks
// HTTPS on a loopback port, and unmodified sign-in libraries (MSAL, Azure
// Identity) get tokens from it.
//
// The model: a [Server] is one issuer with its own CA. It holds tenants
// ([Tenant]); a tenant holds applications ([App]), each with a client ID, secrets,
// certificates, federated credentials and the object ID of its service principal,
// and users, groups and managed identities. They are registered in Go or
// described in a file ([LoadConfig]). A client asks the token endpoint of a tenant
// for a token for a resource, for itself or on behalf of a user; who may have one
// is decided as Entra decides it, and everything asked and answered is kept in a
// request log ([Server.Requests]) that a test can read and wait on. How long
// tokens live and what is in them can be set ([TokenShape]). Answers can be spoiled
// on purpose: an application can be given tokens with exactly one defect
// ([App.SetDefect]), requests can be made to fail a counted number of times
// ([Server.Fail]), and the whole issuer can go away and come back
// ([Server.SetOutage]).
//
//	entra := fakeentra.RunT(t)
//	app := entra.RegisterApp("orders")
//	// sign in with app.TenantID, app.ClientID and app.ClientSecret at entra.URL(),
//	// trusting entra.CAPEM() and with instance discovery switched off
//	entra.Requests() // what was asked for, and what was answered
//
// A server stands for one machine in Azure too: programs on it get tokens for its
// managed identities without a secret, in any of the ways in which libraries ask
// ([Server.ManagedIdentityEnv]). And it is a forward proxy that leads nowhere but
// to itself, for libraries that have Entra's addresses built in
// ([Server.ProxyEnv]).
//
// Tokens are signed with an RSA key that is made once per process, when it is
// first needed; [Server.RotateKey] gives a server keys of its own. Nothing here
// protects anything: secrets start with "fake-secret-", and the issuer must never
// stand in for a real one.
//
// Where the behaviour of the real service is known, the comment beside it names
// the source; where no source was found it says "no source".
package fakeentra
