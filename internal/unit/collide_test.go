package unit

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/handoff-dev/handoff/internal/spec"
)

func TestSocketsOfWhichSystemdCanOpenOneOnlyAreRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		first, second string
		want          string // what is to be left out
	}{
		{"a::0.0.0.0:P", "b::[::]:P", "a::0.0.0.0:P"},
		{"b::[::]:P", "a::0.0.0.0:P", "a::0.0.0.0:P"},
		{"a::0.0.0.0:P", "b::P", "a::0.0.0.0:P"},
		{"a::127.0.0.1:P", "b::P", "a::127.0.0.1:P"},
		{"a::[::1]:P", "b::[::]:P", "a::[::1]:P"},
		{"a::0.0.0.0:P", "b::127.0.0.1:P", "b::127.0.0.1:P"},
		{"a::0.0.0.0:P", "b::[::1]:P", ""},
		{"a::127.0.0.1:P", "b::[::1]:P", ""},
		{"a::0.0.0.0:1P", "b::[::]:P", ""},
		{"udp::0.0.0.0:P", "b::[::]:P", ""},
		{"udp::0.0.0.0:P", "udp::[::]:P", ""},
	} {
		parse := func(text string) spec.Spec {
			s, err := spec.Parse(strings.NewReplacer("a::", "http::", "b::", "https::", "P", "808").Replace(text))
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		err := checkCollisions([]spec.Spec{parse(test.first), parse(test.second)})
		if test.want == "" {
			if err != nil {
				t.Errorf("%s and %s: %v", test.first, test.second, err)
			}
			continue
		}
		if out := parse(test.want); err == nil || !strings.HasSuffix(err.Error(), fmt.Sprintf("leave out %s::%s", out.Type, out.Value)) {
			t.Errorf("%s and %s: %v, want to leave out %s", test.first, test.second, err, test.want)
		}
	}
}

func TestWhatIsRefusedTheKernelRefuses(t *testing.T) {
	t.Parallel()
	if ln, err := net.Listen("tcp6", "[::1]:0"); err != nil {
		t.Skip("there is no IPv6 here:", err)
	} else {
		ln.Close()
	}
	for wide, narrow := range map[string]string{"[::]": "0.0.0.0", "[::]:": "127.0.0.1", "0.0.0.0": "127.0.0.1"} {
		network := map[bool]string{true: "tcp4", false: "tcp"}
		wide = strings.TrimSuffix(wide, ":")
		a, err := net.Listen(network[wide == "0.0.0.0"], wide+":0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(a.Addr().String())
		if b, err := net.Listen("tcp4", narrow+":"+port); err == nil {
			b.Close()
			t.Errorf("%s and %s can be had both", wide, narrow)
		}
		a.Close()
	}
}
