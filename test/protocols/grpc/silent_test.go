//go:build linux

package grpc

import (
	"net"
	"testing"
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
	s.Reload()
	l.awaitProcess(t, s.Main())
	if err := s.First.Wait(); err != nil { // at the end of -drain it would cut all calls
		t.Error(err)
	}
	for kind, n := range l.result() {
		t.Logf("%s: %d ok, %d failed: %q", kind, n.ok, n.failed, n.errs)
		if n.failed > 0 || n.ok == 0 {
			t.Errorf("%s: %d ok, %d failed: %q", kind, n.ok, n.failed, n.errs)
		}
	}
	s.Stop()
}
