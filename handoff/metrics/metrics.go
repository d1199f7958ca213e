// Package metrics answers GET /metrics on a service's control socket, in the text
// format of Prometheus. It is a package of its own because it needs the Prometheus
// client library, which package handoff doesn't.
//
//	up, err := handoff.New(handoff.Options{Control: "/run/app/control"})
//	…
//	metrics.Serve(up)
package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/handoff-dev/handoff/handoff"
)

// Serve adds GET /metrics to the control socket of up, with the metrics of
// [NewCollector] and those of gatherers, such as [prometheus.DefaultGatherer]. Call
// it once. Without Options.Control it does nothing.
func Serve(up *handoff.Upgrader, gatherers ...prometheus.Gatherer) {
	up.HandleControl("GET /metrics", Handler(up.Status, gatherers...))
}

// Handler answers with the metrics of a service that tells its status, and those of
// gatherers.
func Handler(status func() handoff.ServiceStatus, gatherers ...prometheus.Gatherer) http.Handler {
	own := prometheus.NewRegistry()
	own.MustRegister(NewCollector(status))
	return promhttp.HandlerFor(append(prometheus.Gatherers{own}, gatherers...), promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError,
	})
}

// NewCollector returns a collector that reads status at each collection, for a
// program that has metrics of its own elsewhere.
func NewCollector(status func() handoff.ServiceStatus) prometheus.Collector {
	return collector(status)
}

type collector func() handoff.ServiceStatus

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("handoff_"+name, help, labels, nil)
}

// What is counted belongs to a process: after an upgrade the next one begins at 0, as
// after a restart.
var (
	info       = describe("info", "1, with what serves.", "version", "revision", "go", "kind")
	generation = describe("generation", "The generation that serves; 1 is the first.")
	start      = describe("generation_start_time_seconds", "When it was started, in seconds since 1970.")
	changed    = describe("binary_changed", "1 if the file of the next upgrade is not the one that runs.")
	phase      = describe("phase", "1 for the phase in which the generation is.", "phase")
	requests   = describe("http_requests_total", "Requests that this generation's servers have begun to answer.")
	accepted   = describe("accepted_connections_total", "Connections that this generation has accepted.", "listener", "address")
	moved      = describe("moved_connections_total", "Connections that have come from older generations.", "listener", "address")
	open       = describe("open_connections", "Connections that are open.", "listener", "address")
	draining   = describe("draining_generations", "Older generations that still have connections.")
	left       = describe("draining_connections", "Connections that older generations still have.")
	upgrades   = describe("recent_upgrades", "Upgrades among the last 20 by their outcome.", "outcome")
	lastTime   = describe("last_upgrade_time_seconds", "When the last upgrade was over, in seconds since 1970.")
	lastOK     = describe("last_upgrade_committed", "1 if the last upgrade was committed, 0 if it failed.")
	lastPhase  = describe("last_upgrade_phase_seconds", "How long each phase of the last upgrade has taken.", "phase")
)

// Describe is of [prometheus.Collector].
func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{info, generation, start, changed, phase, requests, accepted, moved, open, draining, left, upgrades, lastTime, lastOK, lastPhase} {
		out <- d
	}
}

// Collect is of [prometheus.Collector].
func (c collector) Collect(out chan<- prometheus.Metric) {
	s := c()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(info, 1, s.Version, s.Build.Revision, s.Build.Go, s.Kind)
	gauge(generation, float64(s.Generation))
	gauge(start, float64(s.Started.UnixNano())/1e9)
	gauge(changed, truth(s.Binary.Changed))
	gauge(phase, 1, s.Phase)
	count(requests, s.Requests)
	for l, n := range byPlace(s.Listeners) {
		count(accepted, n.Accepted, l.name, l.address)
		count(moved, n.Moved, l.name, l.address)
		if n.Open != nil {
			gauge(open, float64(*n.Open), l.name, l.address)
		}
	}
	gauge(draining, float64(len(s.Draining)))
	connections := 0
	for _, d := range s.Draining {
		connections += d.Connections
	}
	gauge(left, float64(connections))
	past(s.Upgrades, gauge)
}

func past(all []handoff.UpgradeRecord, gauge func(*prometheus.Desc, float64, ...string)) {
	outcomes := map[string]int{"committed": 0, "failed": 0}
	for _, u := range all {
		outcomes[u.Outcome]++
	}
	for outcome, n := range outcomes {
		gauge(upgrades, float64(n), outcome)
	}
	if len(all) == 0 {
		return
	}
	last := all[len(all)-1]
	gauge(lastTime, float64(last.Began.UnixNano())/1e9+last.Seconds)
	gauge(lastOK, truth(last.Outcome == "committed"))
	phases := make(map[string]float64)
	for _, p := range last.Phases {
		phases[p.Name] += p.Seconds
	}
	for name, seconds := range phases {
		gauge(lastPhase, seconds, name)
	}
}

// place is a listener's, which need not be the only one there: datagram sockets share
// addresses.
type place struct{ name, address string }

func byPlace(all []handoff.ListenerStatus) map[place]handoff.ListenerStatus {
	places := make(map[place]handoff.ListenerStatus)
	for _, l := range all {
		at := place{l.Name, l.Address}
		sum, ok := places[at]
		if !ok {
			places[at] = l
			continue
		}
		sum.Accepted += l.Accepted
		sum.Moved += l.Moved
		if l.Open != nil {
			n := *l.Open
			if sum.Open != nil {
				n += *sum.Open
			}
			sum.Open = &n
		}
		places[at] = sum
	}
	return places
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
