// Package libraries holds no code of its own: its test signs in to fakeentra with
// the real, unmodified libraries, two for each of four languages, and makes the
// table of what they can do there.
//
//	go test ./fakeentra/libraries -v -run Table
//
// The model: a program in each language (testdata/<language>) reads one JSON object
// per line, signs in as told with the library as published, and answers with a
// token or with the error as the library's user sees it. The test starts a program
// on a machine: an issuer of its own, and the environment variables that make the
// program find it, which are read once at the start by most libraries. On each
// machine each library gets a token, is refused, is throttled, and lives through an
// outage. What the issuer's request log says about it is judged together with the
// answer, and must equal testdata/table.md (-update writes it), which stands in the README.
//
// Microsoft is never asked. Where a library would do so it is given a forward proxy
// of fakeentra's; one that obeys no proxy is found out by a name that cannot exist,
// and not tried there.
//
// The programs are prepared as the drivers of the scenarios are, in the same cache.
// That is why the test is an external one: scenarios may use the fakes and not the
// other way round, and so it stays for everything that is not a test.
package libraries
