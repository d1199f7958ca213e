package load

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

func healthServer(t *testing.T, answer func(w http.ResponseWriter, question []byte)) Target {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		question, _ := io.ReadAll(r.Body)
		if r.URL.Path != healthPath || r.Header.Get("Content-Type") != "application/grpc" || r.Header.Get("TE") != "trailers" {
			http.Error(w, "no gRPC", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("X-Pid", "42")
		answer(w, question)
	}))
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	return Target{Addr: srv.Listener.Addr().String(), Proto: GRPCHealth}
}

func status(w http.ResponseWriter, n string) { w.Header().Set(http.TrailerPrefix+"Grpc-Status", n) }

func TestServingIsTheOneRightHealth(t *testing.T) {
	t.Parallel()
	var asked atomic.Value
	target := healthServer(t, func(w http.ResponseWriter, q []byte) {
		asked.Store(string(q))
		w.Write(serving)
		status(w, "0")
	})
	target.Path = "app"
	res := runUntil(t, Config{Target: target, Workers: 2},
		func(c Counters) bool { return c.Requests >= 20 && c.Connections >= 2 })
	if res.OK != res.Requests || res.Connections != 2 || res.PIDs[0].PID != 42 {
		t.Errorf("%+v: %v", res.Counters, res.Errors)
	}
	if want := "\x00\x00\x00\x00\x05\x0a\x03app"; asked.Load() != want {
		t.Errorf("asked %q, want %q", asked.Load(), want)
	}
	for name, test := range map[string]struct {
		answer func(w http.ResponseWriter, q []byte)
		kind   Kind
		text   string
	}{
		"not serving": {func(w http.ResponseWriter, _ []byte) { w.Write([]byte{0, 0, 0, 0, 2, 8, 2}); status(w, "0") }, Status, "NOT_SERVING"},
		"an error":    {func(w http.ResponseWriter, _ []byte) { w.Header().Set("Grpc-Status", "12") }, Status, "grpc-status 12"},
		"no status":   {func(w http.ResponseWriter, _ []byte) { w.Write(serving) }, Truncated, "without a grpc-status"},
		"a late cut":  {func(w http.ResponseWriter, _ []byte) { w.Write(serving[:3]); panic(http.ErrAbortHandler) }, Torn, "INTERNAL_ERROR"},
	} {
		res := runUntil(t, Config{Target: healthServer(t, test.answer)}, func(c Counters) bool { return c.Failed > 3 })
		if f := res.Errors[0]; f.Kind != test.kind && f.Kind != Reset || !strings.Contains(f.Error, test.text) {
			t.Errorf("%s: %+v", name, f)
		}
	}
}
