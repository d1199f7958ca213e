package supervise

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/handoff"
)

func TestReadinessIsReadAsItIsWritten(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"auto", "notify", "after=1.5s", "after=0s", "exec=curl -f http://x", "http=/healthz?x=1"} {
		r, err := ParseReady(text)
		if err != nil || r.String() != text {
			t.Errorf("%q is read as %q, %v", text, r, err)
		}
	}
	for _, text := range []string{"", "yes", "notify=1", "after", "after=-1s", "after=1", "exec=", "exec= ", "http", "http=healthz", "http=/a b", "http=/a\r\nX: y"} {
		if r, err := ParseReady(text); err == nil {
			t.Errorf("%q is read as %q", text, r)
		}
	}
}

func TestTheVariablesOfOtherHoldersNameTheSockets(t *testing.T) {
	t.Parallel()
	addrs := []net.Addr{
		&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}, &net.TCPAddr{IP: net.IPv6unspecified, Port: 8080},
		&net.UnixAddr{Name: "/run/a.sock", Net: "unix"}, nil,
	}
	for kind, want := range map[string][]string{
		"server-starter": {"SERVER_STARTER_PORT=127.0.0.1:80=3;8080=4;/run/a.sock=5;0=6", "SERVER_STARTER_GENERATION=7"},
		"einhorn": {"EINHORN_MASTER_PID=99", "EINHORN_CHILD_INDEX=2", "EINHORN_FD_COUNT=4", "EINHORN_FD_0=3", "EINHORN_FD_1=4",
			"EINHORN_FD_2=5", "EINHORN_FD_3=6", "EINHORN_FDS=3 4 5 6"},
		"nginx": {"NGINX=3;4;5;6;"},
	} {
		if got := compatEnv(kind, addrs, 7, 2, 99); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", kind, got, want)
		}
	}
}

func TestOptionsThatMakeNoSenseAreRefusedWithTheValueThatIsWrong(t *testing.T) {
	t.Parallel()
	httpReady, err := ParseReady("http=/")
	if err != nil {
		t.Fatal(err)
	}
	late, err := ParseReady("after=2m")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"true"}
	for want, o := range map[string]Options{
		"program is missing":     {},
		"-1 workers":             {Args: args, Workers: -1},
		"timeout is negative":    {Args: args, StopTimeout: -1},
		`policy "perhaps"`:       {Args: args, Restart: "perhaps"},
		`"upstart" is none of`:   {Args: args, Compat: []string{"upstart"}},
		"needs a stream socket":  {Args: args, Ready: httpReady},
		"later than the timeout": {Args: args, Ready: late},
	} {
		if _, err := o.withDefaults(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	o, err := Options{Args: args}.withDefaults()
	if err != nil || o.Workers != 1 || o.Probation != time.Second || o.StopTimeout != time.Minute {
		t.Errorf("the defaults: %+v, %v", o, err)
	}
}

func TestASocketNamedHTTPIsAskedBeforeOthers(t *testing.T) {
	t.Parallel()
	admin, web := &net.TCPAddr{Port: 1}, &net.TCPAddr{Port: 2}
	o := Options{Sockets: []Socket{{Addr: &net.UDPAddr{}}, {Addr: admin}, {File: handoff.File{Name: "http"}, Addr: web}}}
	if got := o.httpSocket(); got != web {
		t.Errorf("got %v", got)
	}
	if got := (Options{Sockets: o.Sockets[:2]}).httpSocket(); got != admin {
		t.Errorf("got %v", got)
	}
}
