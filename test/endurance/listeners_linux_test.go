package endurance

import (
	"encoding/json"
	"net"
	"slices"
	"testing"
	"time"
)

func TestAThousandListenersAreHandedOnAndNothingIsLeftBehind(t *testing.T) {
	s := newSubject(t, buildProbe(t), true, "-listeners", "1000")
	addrs := s.others()
	s.Reload()
	s.AwaitAlone(s.Main())
	before := s.take(s.Main())
	began := time.Now()
	const upgrades = 5
	for range upgrades {
		s.Reload()
	}
	each := time.Since(began) / upgrades
	pid := s.Main()
	s.AwaitAlone(pid)
	after := s.take(pid)
	t.Logf("before: %s", before)
	t.Logf("after:  %s; %v each", after, each)
	after.sameAs(t, before)
	if late := s.others(); len(late) != 1000 || !slices.Equal(late, addrs) {
		t.Errorf("the generations have not the same %d addresses", len(addrs))
	}
	for _, addr := range addrs {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	s.StopGroup()
}

// others returns the addresses of a probe's other listeners.
func (s *subject) others() (addrs []string) {
	s.T.Helper()
	body, err := s.Get("/others")
	if err == nil {
		err = json.Unmarshal([]byte(body), &addrs)
	}
	if err != nil {
		s.T.Fatal(err)
	}
	return addrs
}
