//go:build linux

package grpc

import (
	"net"
	"testing"
	"time"
)

// A port scanner, a load balancer's probe, a client whose network has gone.
func TestAConnectionThatSaysNothingHoldsUpNoDrain(t *testing.T) {
	s := start(t, "-drain", "20s")
	for _, first := range []string{"", "PRI * HT"} {
		conn, err := net.Dial("tcp", s.HTTP)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte(first)); err != nil {
			t.Fatal(err)
		}
	}
	l := startLoad(t, s.HTTP)
	old := s.Main()
	l.awaitProcess(t, old)
	began := time.Now()
	s.Reload()
	l.awaitProcess(t, s.Main())
	s.First.Wait()
	if d := time.Since(began); d > 15*time.Second {
		t.Errorf("the old process has ended after %v", d)
	}
	for kind, n := range l.result() {
		t.Logf("%s: %d ok, %d failed: %q", kind, n.ok, n.failed, n.errs)
		if n.failed > 0 || n.ok == 0 {
			t.Errorf("%s: %d ok, %d failed: %q", kind, n.ok, n.failed, n.errs)
		}
	}
	s.Stop()
}
