// Package fakeentra is a fake Microsoft Entra token issuer for tests. It speaks
// HTTPS on a loopback port, and unmodified sign-in libraries (MSAL, Azure
// Identity) get tokens from it.
//
// The model: a [Server] is one issuer with its own CA. It holds tenants; a
// tenant holds applications ([App]), each with a client ID, a secret and the
// object ID of its service principal. A client asks the token endpoint of a
// tenant for a token for a resource; who may have one is decided as Entra
// decides it, and everything asked and answered is kept in a request log
// ([Server.Requests]) that a test can read and wait on. Answers can be spoiled
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
// Tokens are signed with an RSA key that is made once per process, when it is
// first needed. Nothing here protects anything: secrets start with
// "fake-secret-", and the issuer must never stand in for a real one.
//
// Where the behaviour of the real service is known, the comment beside it names
// the source; where no source was found it says "no source".
package fakeentra
