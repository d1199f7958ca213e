package flip

import (
	"net"
	"slices"
	"testing"
)

func TestAnIPSocketIsPassedOnUnderItsAddressToo(t *testing.T) {
	got := spellings(words{kindListener, "tcp4", "localhost:0"}, &net.TCPAddr{IP: net.IPv4zero, Port: 8080})
	for _, want := range []words{{kindListener, "tcp", "0.0.0.0:8080"}, {kindListener, "tcp", ":8080"}} {
		if !slices.Contains(got, want) {
			t.Errorf("%v is not among %v", want, got)
		}
	}
	if got := spellings(words{"", "", "a file"}, nil); got != nil {
		t.Errorf("a file got %v", got)
	}
}
