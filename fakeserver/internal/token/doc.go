// Package token checks a Microsoft Entra access token the way a cache that
// trusts one issuer checks it: against the keys which that issuer publishes,
// and against what the token says about itself.
//
// A Validator knows one issuer by its URL and nothing else. The first token
// makes it read the issuer's OpenID configuration and its keys; after that the
// issuer is asked again only when a token names a key that is not known. A
// token whose signature was verified once is remembered by its hash, so that a
// pool which signs in again and again costs no RSA, but its times are compared
// with the clock on every call.
//
// Every refusal is an *Error with a Reason, so that the caller can log why
// while the wire shows the same text for all of them.
package token
