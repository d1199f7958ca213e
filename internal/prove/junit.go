package prove

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// The parts of JUnit's XML that the readers of it agree on.
type (
	junitSuite struct {
		XMLName   xml.Name    `xml:"testsuite"`
		Name      string      `xml:"name,attr"`
		Tests     int         `xml:"tests,attr"`
		Failures  int         `xml:"failures,attr"`
		Errors    int         `xml:"errors,attr"`
		Time      string      `xml:"time,attr"`
		Timestamp string      `xml:"timestamp,attr"`
		Cases     []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string       `xml:"classname,attr"`
		Name    string       `xml:"name,attr"`
		Time    string       `xml:"time,attr"`
		Failure *junitReason `xml:"failure,omitempty"`
		Error   *junitReason `xml:"error,omitempty"`
		Output  string       `xml:"system-out,omitempty"`
	}
	junitReason struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes rep as a JUnit test suite: a case for each shape, which
// fails with its requests, and one for the upgrades themselves.
func (rep *Report) WriteJUnit(w io.Writer) error {
	took := fmt.Sprintf("%.3f", rep.Ended.Sub(rep.Began).Seconds())
	s := junitSuite{Name: "handoff prove " + rep.URL, Time: took, Timestamp: rep.Began.UTC().Format("2006-01-02T15:04:05")}
	for _, one := range rep.Shapes {
		c := junitCase{Class: "handoff.prove", Name: one.Name, Time: took}
		c.Output = fmt.Sprintf("%d requests, %d reconnects; p99 %s steady, %s around upgrades",
			one.Requests, one.Reconnects+one.ClosedIdle, milliseconds(one.Steady.P99), milliseconds(one.Around.P99))
		if one.Failed > 0 {
			s.Failures++
			c.Failure = &junitReason{fmt.Sprintf("%d of %d requests failed", one.Failed, one.Requests), rep.lossText(one.Name)}
		}
		s.Cases = append(s.Cases, c)
	}
	up := junitCase{Class: "handoff.prove", Name: "upgrades", Time: took}
	switch rep.Verdict {
	case Proven, NoUpgrade:
	case Failed:
		if i := rep.failedUpgrade(); i >= 0 {
			up.Error = &junitReason{fmt.Sprintf("upgrade %d: %s", rep.Upgrades[i].N, rep.Upgrades[i].Error), rep.Upgrades[i].Output}
		}
	default:
		up.Error = &junitReason{Message: rep.Summary}
		if i := rep.failedUpgrade(); i >= 0 {
			up.Error.Text = rep.Upgrades[i].Output
		}
	}
	if up.Error != nil {
		s.Errors++
	}
	s.Cases = append(s.Cases, up)
	s.Tests = len(s.Cases)
	io.WriteString(w, xml.Header)
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(s); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (rep *Report) failedUpgrade() int {
	for i, u := range rep.Upgrades {
		if u.Error != "" {
			return i
		}
	}
	return -1
}

// lossText tells what a shape has lost.
func (rep *Report) lossText(shape string) string {
	var b strings.Builder
	for _, l := range rep.Losses {
		if l.Shape == shape {
			fmt.Fprintf(&b, "%d × %s, %s: %s (%s)\n", l.Count, l.Kind, l.when(), l.Why, l.Error)
		}
	}
	n := 0
	for _, f := range rep.Failures {
		if f.Shape != shape {
			continue
		}
		if n++; n > 20 {
			b.WriteString("…\n")
			break
		}
		fmt.Fprintf(&b, "%s upgrade %d +%s %s %s\n", f.Time.Format(time.RFC3339Nano), f.Upgrade, milliseconds(f.SinceUpgrade), f.Kind, f.Stage)
	}
	return b.String()
}
