// Draining draws docs/draining.svg: the latency of requests over time while a server
// is upgraded again and again, once by handoff and once in the usual way, by starting
// the new process on the same socket and ending the old one with http.Server.Shutdown.
//
//	go generate ./docs/pictures/...
//
// takes a minute and needs a machine that has nothing else to do.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/internal/plot"
)

//go:generate go run . -o ../../draining.svg

func main() {
	out := flag.String("o", "draining.svg", "write the picture to `file`")
	serve := flag.String("serve", "", "be a server: handoff or shutdown")
	addr := flag.String("addr", "", "of that server")
	pidFile := flag.String("pid-file", "", "of that server")
	upgrades := flag.Int("upgrades", 6, "how many")
	every := flag.Duration("every", 4*time.Second, "the time from one to the next")
	flag.Parse()
	var err error
	switch *serve {
	case "":
		err = draw(*out, *upgrades, *every)
	case "handoff":
		err = serveHandoff(*addr, *pidFile)
	case "shutdown":
		err = serveShutdown()
	default:
		err = fmt.Errorf("-serve=%s: want handoff or shutdown", *serve)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "draining:", err)
		os.Exit(1)
	}
}

func draw(out string, upgrades int, every time.Duration) error {
	var panels []plot.Scatter
	for _, way := range []struct {
		name string
		new  func(*service) upgrader
	}{
		{"handoff", func(s *service) upgrader { return &handoffServer{service: s} }},
		{"new process on the same socket, then http.Server.Shutdown in the old one", func(s *service) upgrader { return &shutdownServer{service: s} }},
	} {
		fmt.Println(way.name)
		r, err := measure(context.Background(), way.new, upgrades, every)
		if err != nil {
			return fmt.Errorf("%s: %w", way.name, err)
		}
		panels = append(panels, r.scatter(way.name))
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer f.Close()
	const width, height = 900, 330
	if err := plot.WritePanels(f, "Latency of requests while a server is upgraded", width, height, panels...); err != nil {
		return err
	}
	return f.Close()
}

// dots is how many of the requests are drawn of each panel.
const dots = 1500

// scatter draws a run.
func (r run) scatter(name string) plot.Scatter {
	s := plot.Scatter{
		Title:  fmt.Sprintf("%s: %d of %d requests failed", name, r.Failed, r.Requests),
		XLabel: "since the load began",
		To:     r.Ended.Sub(r.Began).Round(time.Second),
	}
	for _, shape := range shapes {
		s.Series = append(s.Series, plot.Series{Name: shape.Name})
	}
	for i, one := range r.Samples {
		// All that took long, and every n-th of the others.
		if every := max(1, len(r.Samples)/dots); one.Latency < r.Steady.P99 && i%every > 0 {
			continue
		}
		for n, shape := range shapes {
			if shape.Name == one.Shape {
				s.Series[n].Points = append(s.Series[n].Points, plot.Point{X: one.Time.Sub(r.Began), Y: one.Latency})
			}
		}
	}
	for n, u := range r.upgrades {
		s.Upgrades = append(s.Upgrades, plot.Upgrade{From: u.from.Sub(r.Began), To: u.to.Sub(r.Began), Label: fmt.Sprint(n + 1)})
	}
	s.Failures = failures(r.Errors, r.Began)
	return s
}

// failures are those that can be told apart in the picture.
func failures(all []load.Failure, began time.Time) (few []plot.Failure) {
	const apart = 20 * time.Millisecond
	for _, f := range all {
		x := f.Time.Sub(began)
		if n := len(few); n == 0 || x-few[n-1].X >= apart {
			few = append(few, plot.Failure{X: x})
		}
	}
	return few
}
