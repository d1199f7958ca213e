package metrics

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/handoff"
)

func TestTheMetricsSayWhatTheStatusSays(t *testing.T) {
	t.Parallel()
	two := 2
	status := handoff.ServiceStatus{
		Kind: "library", Generation: 3, Phase: "serving", Version: "1.2", Started: time.Unix(1000, 0), Requests: 7,
		Binary: handoff.BinaryStatus{Changed: true},
		Listeners: []handoff.ListenerStatus{
			{Name: "http", Address: ":80", Accepted: 5, Open: &two},
			{Name: "udp", Address: ":53"}, {Name: "udp", Address: ":53"}, // shared, with SO_REUSEPORT
		},
		Draining: []handoff.DrainingStatus{{Connections: 2}, {Connections: 3}},
		Upgrades: []handoff.UpgradeRecord{
			{Outcome: "failed"},
			{Outcome: "committed", Began: time.Unix(2000, 0), Seconds: 1.5, Phases: []handoff.PhaseTime{{Name: "ready", Seconds: 0.5}, {Name: "drain", Seconds: 9}}},
		},
	}
	w := httptest.NewRecorder()
	Handler(func() handoff.ServiceStatus { return status }).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	text, _ := io.ReadAll(w.Body)
	for _, line := range []string{
		`handoff_info{go="",kind="library",revision="",version="1.2"} 1`,
		`handoff_generation 3`,
		`handoff_generation_start_time_seconds 1000`,
		`handoff_binary_changed 1`,
		`handoff_phase{phase="serving"} 1`,
		`handoff_http_requests_total 7`,
		`handoff_accepted_connections_total{address=":80",listener="http"} 5`,
		`handoff_open_connections{address=":80",listener="http"} 2`,
		`handoff_draining_generations 2`,
		`handoff_draining_connections 5`,
		`handoff_recent_upgrades{outcome="failed"} 1`,
		`handoff_last_upgrade_time_seconds 2001.5`,
		`handoff_last_upgrade_committed 1`,
		`handoff_last_upgrade_phase_seconds{phase="drain"} 9`,
	} {
		if !strings.Contains(string(text), line+"\n") {
			t.Errorf("there is no line %s", line)
		}
	}
	if w.Code != 200 || strings.Contains(string(text), `open_connections{address=":53"`) {
		t.Errorf("%d:\n%s", w.Code, text)
	}
}
