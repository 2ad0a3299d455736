package main

import (
	"fmt"
	"os"

	"github.com/entracache/entracache/scenarios/report"
)

type reportCmd struct {
	Matrix   reportMatrixCmd   `cmd:"" help:"Print the matrix of a report."`
	Failures reportFailuresCmd `cmd:"" help:"Print the failures of a report with their timelines."`
	Junit    reportJunitCmd    `cmd:"" help:"Print a report as JUnit XML."`
	Lanes    reportLanesCmd    `cmd:"" help:"Compare the verdicts of two reports, such as those of two lanes, and print those that differ. Exit 1 if any does."`
}

// reportFile is a report.jsonl. One without its end line is refused.
type reportFile struct {
	File string `arg:"" help:"The report.jsonl." type:"existingfile"`
}

func (f reportFile) read() (*report.Report, error) {
	file, err := os.Open(f.File)
	if err != nil {
		return nil, usageError(err)
	}
	defer file.Close()
	r, err := report.Read(file)
	if err != nil {
		return nil, usageError(fmt.Errorf("%s is not a whole report: %w", f.File, err))
	}
	return r, nil
}

type reportMatrixCmd struct{ reportFile }

func (c *reportMatrixCmd) Run(std streams) error {
	r, err := c.read()
	if err != nil {
		return err
	}
	return r.WriteMatrix(std.out)
}

type reportFailuresCmd struct{ reportFile }

func (c *reportFailuresCmd) Run(std streams) error {
	r, err := c.read()
	if err != nil {
		return err
	}
	return r.WriteFailures(std.out)
}

type reportJunitCmd struct{ reportFile }

func (c *reportJunitCmd) Run(std streams) error {
	r, err := c.read()
	if err != nil {
		return err
	}
	return r.WriteJUnit(std.out)
}

type reportLanesCmd struct {
	reportFile
	Other string `arg:"" help:"The report.jsonl to compare it with." type:"existingfile"`
}

func (c *reportLanesCmd) Run(std streams) error {
	a, err := c.read()
	if err != nil {
		return err
	}
	b, err := reportFile{c.Other}.read()
	if err != nil {
		return err
	}
	differ, err := report.WriteDisagreements(std.out, a, b)
	switch {
	case err != nil:
		return usageError(err)
	case differ > 0:
		return &exitError{code: exitNonconformant}
	default:
		return nil
	}
}
