// Package features holds the scenarios that a client library is held against, as Gherkin text, and the sentences of the
// specification that they test.
//
// The .feature files are the product: each reads as a page of the specification, and a client author needs nothing else to
// know what is asked. Scenarios carry their metadata in tags: a stable id that is never reused (@id:refresh.idle-pool), a
// level (@must, @should, @info), the requirement they test (@req:ENT-REFRESH-2, explained in requirements.yaml) and the
// driver capabilities they need (@needs:pool). @lane:virtual and @long say when they are played. The steps are defined in package scenarios, one vocabulary for all files.
package features

import "embed"

// FS holds every *.feature file and requirements.yaml.
//
//go:embed *.feature requirements.yaml
var FS embed.FS
