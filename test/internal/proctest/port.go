package proctest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

var givenPorts sync.Map

// FreePort returns a TCP port that nobody listens on. It lies below the range from
// which systems take the ports of outgoing connections, so that no client happens to
// occupy it before the server under test does.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 200 {
		port := 20000 + rand.IntN(12000)
		ln, err := net.Listen("tcp", ":"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		ln.Close()
		if _, taken := givenPorts.LoadOrStore(port, true); !taken {
			return port
		}
	}
	t.Fatal("no free TCP port found in 200 attempts between 20000 and 31999")
	return 0
}
