// Package report is what comes out of a run: report.jsonl, and everything made from it.
//
// The model: while it runs, the harness writes one file, report.jsonl, one JSON object a line: the run, each driver, each
// scenario, each result as it is known, and an end line with the counts. A report without its end line, or whose counts do not
// agree, is not a report: [Read] refuses it. The matrix on the console, the failures and the JUnit file are made from the
// same [Report], whether it was just run or read back.
package report
