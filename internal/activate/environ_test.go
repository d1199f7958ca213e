package activate

import (
	"slices"
	"strings"
	"testing"
)

func TestTheEnvironmentHasNothingStale(t *testing.T) {
	t.Parallel()
	base := []string{"PATH=/bin", "LISTEN_PID=1", "LISTEN_FDS=2", "LISTEN_FDNAMES=a", "LISTEN_PIDFDID=3", "LISTEN_FDS_FIRST_FD=9", "HANDOFF_LINK=4", "HANDOFF_STAGE=x",
		"SYSTEMFD_SOCKET_SERVER=a", "SYSTEMFD_SOCKET_SECRET=b", "REMOTE_ADDR=c", "REMOTE_PORT=d", "NOTIFY_SOCKET=/n", "WATCHDOG_PID=1", "WATCHDOG_USEC=2", "A=1", "B=2", "=C:=C:"}
	for name, test := range map[string]struct {
		e    Environ
		more []string
		want string
	}{
		"as it is":     {Environ{}, []string{"LISTEN_FDS=1"}, "PATH=/bin NOTIFY_SOCKET=/n WATCHDOG_PID=1 WATCHDOG_USEC=2 A=1 B=2 =C:=C: LISTEN_FDS=1"},
		"a connection": {Environ{Connection: true}, nil, "PATH=/bin A=1 B=2 =C:=C:"},
		"clean":        {Environ{Clean: true}, nil, "PATH=/bin"},
		"set":          {Environ{Set: []string{"A=3", "D=", "E"}, Connection: true}, nil, "PATH=/bin B=2 =C:=C: A=3 D="},
		"clean, set":   {Environ{Clean: true, Set: []string{"A", "NOTIFY_SOCKET", "E", "F=1", "F=2"}}, nil, "PATH=/bin A=1 NOTIFY_SOCKET=/n F=2"},
	} {
		test.e.Base = base
		if got := strings.Join(test.e.With(test.more...), " "); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestTheSocketsVariablesAreThoseOfTheProtocol(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		names      []string
		first, pid int
		want       []string
	}{
		{[]string{"unknown", "unknown"}, 3, 7, []string{"LISTEN_FDS=2", "LISTEN_PID=7"}},
		{[]string{"a", "unknown", ""}, 3, 7, []string{"LISTEN_FDS=3", "LISTEN_FDNAMES=a:unknown:", "LISTEN_PID=7"}},
		{[]string{""}, 5, 0, []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=", "LISTEN_FDS_FIRST_FD=5"}},
	} {
		if got := Sockets(test.names, test.first, test.pid); !slices.Equal(got, test.want) {
			t.Errorf("%q: %q, want %q", test.names, got, test.want)
		}
	}
}
