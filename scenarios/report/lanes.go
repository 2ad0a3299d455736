package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteDisagreements compares the verdicts of two runs of the same scenarios, in different lanes as a rule, and writes those that differ
// with what was seen in each. It returns how many differ. What only one of the two judged is counted, and is no disagreement. The error
// says that the reports cannot be compared.
func WriteDisagreements(w io.Writer, a, b *Report) (int, error) {
	if a.Run.FeatureHash != b.Run.FeatureHash {
		return 0, fmt.Errorf("the reports asked different scenarios: features %s and %s", a.Run.FeatureHash, b.Run.FeatureHash)
	}
	compared, differ, alone := 0, 0, 0
	var out strings.Builder
	t := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	for _, d := range a.Drivers {
		other := b.driver(d.Name)
		if other == nil {
			continue
		}
		if d.Version() != "" && other.Version() != "" && d.Version() != other.Version() {
			return 0, fmt.Errorf("the reports are about different releases of %s: %s and %s", d.Name, d.Version(), other.Version())
		}
		for _, s := range a.Scenarios {
			x, inA := a.Result(d.Name, s.ID)
			y, inB := b.Result(d.Name, s.ID)
			switch one, two := x.Status.Verdict(), y.Status.Verdict(); {
			case !inA && !inB || one == None && two == None:
			case one == None || two == None:
				alone++
			case one == two:
				compared++
			default:
				compared++
				differ++
				fmt.Fprintf(t, "%s\t%s\t\n", d.Name, s.ID)
				for _, side := range []struct {
					driver Driver
					result Result
				}{{d, x}, {*other, y}} {
					fmt.Fprintf(t, "\t%s\t%s %s\n", side.driver.Time(), side.result.Status, side.result.Actual)
				}
			}
		}
	}
	if compared == 0 {
		return 0, fmt.Errorf("no scenario was judged in both reports (lanes %s and %s): nothing can be compared", a.Run.Lane, b.Run.Lane)
	}
	if err := t.Flush(); err != nil {
		return 0, err
	}
	fmt.Fprintf(&out, "%d verdicts of the lanes %s and %s compared: %d differ; %d more were judged in one of them only\n", compared, a.Run.Lane, b.Run.Lane, differ, alone)
	_, err := io.WriteString(w, out.String())
	return differ, err
}

func (r *Report) driver(name string) *Driver {
	for i := range r.Drivers {
		if r.Drivers[i].Name == name {
			return &r.Drivers[i]
		}
	}
	return nil
}
