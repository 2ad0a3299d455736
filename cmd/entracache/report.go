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
