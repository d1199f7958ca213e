package notify

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestJunkIsIgnoredAndWhatIsWellFormedCounts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		datagram string
		want     []string
		void     bool
	}{
		{"READY=1", []string{"READY=1"}, false},
		{"READY=1\n", []string{"READY=1"}, false},
		{"READY=1\x00", []string{"READY=1"}, false},
		{"READY=1\n\x00", []string{"READY=1"}, false},
		{"READY=1\r\nSTATUS=a=b\r\n", []string{"READY=1", "STATUS=a=b"}, false},
		{"\n\n\r\r\nREADY=1\n\n", []string{"READY=1"}, false},
		{"junk\n=x\n\xff\nREADY=1\n \nSTATUS=", []string{"READY=1", "STATUS="}, false},
		{"junk", nil, false},
		{"\n", nil, false},
		{"BARRIER=1\n", []string{"BARRIER=1"}, false},
		{"BARRIER=1\nREADY=1", nil, true},
		{"", nil, true},
		{"\x00", nil, true},
		{"READY=1\x00\x00", nil, true},
		{"STATUS=\x00\nREADY=1", nil, true},
		{"READY=1\n" + strings.Repeat("x", MaxSize-8), []string{"READY=1"}, false},
		{"READY=1\n" + strings.Repeat("x", MaxSize-7), nil, true},
	} {
		got, err := parseLines([]byte(c.datagram))
		if !slices.Equal(got, c.want) || (err != nil) != c.void {
			t.Errorf("%.40q: %q, %v", c.datagram, got, err)
		}
	}
}

func TestTheLastWordAboutTheServicesLifeDecides(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][3]bool{ // ready, reloading, stopping
		"READY=1":                        {true, false, false},
		"READY=0":                        {},
		"READY=11":                       {},
		"XREADY=1":                       {},
		"RELOADING=1 READY=1 STATUS=x":   {true, false, false},
		"READY=1 RELOADING=1":            {false, true, false},
		"READY=1 STOPPING=1":             {false, false, true},
		"STOPPING=0 READY=1 RELOADING=0": {true, false, false},
	} {
		m := Message{Lines: strings.Fields(text)}
		if got := [3]bool{m.Ready(), m.Reloading(), m.Stopping()}; got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestNumbersThatMakeNoSenseCountAsAbsent(t *testing.T) {
	t.Parallel()
	for _, junk := range []string{"", "x", "-1", "0", "1.5", " 1", "99999999999999999999", "18446744073709551616"} {
		m := Message{Lines: []string{"ERRNO=" + junk, "MAINPID=" + junk, "EXTEND_TIMEOUT_USEC=" + junk, "STATUS=\xff"}}
		if m.Errno() != 0 || m.MainPID() != 0 || m.ExtendTimeout() != 0 || m.Status() != "" {
			t.Errorf("%q: %v %d %v %q", junk, m.Errno(), m.MainPID(), m.ExtendTimeout(), m.Status())
		}
	}
	m := Message{Lines: []string{"EXTEND_TIMEOUT_USEC=18446744073709551615", "ERRNO=4095", "MAINPID=2147483647", "MAINPID=1"}}
	if m.ExtendTimeout() != time.Duration(1<<63-1) || m.Errno() != 4095 || m.MainPID() != 1<<31-1 {
		t.Errorf("limits: %v %v %d", m.ExtendTimeout(), m.Errno(), m.MainPID())
	}
}

func TestNoSuccessorSpeaksForTheWholeService(t *testing.T) {
	t.Parallel()
	lines := []string{
		"READY=1", "STATUS=hello", "MAINPID=1", "MAINPIDFD=1", "MAINPIDFDID=1", "RELOADING=1", "MONOTONIC_USEC=1", "STOPPING=1",
		"NOTIFYACCESS=none", "ERRNO=2", "BUSERROR=x", "VARLINKERROR=x", "EXIT_STATUS=1", "WATCHDOG=1", "WATCHDOG=trigger",
		"WATCHDOG_USEC=1", "RESTART_RESET=1", "EXTEND_TIMEOUT_USEC=5", "FDSTORE=1", "FDNAME=x", "FDSTOREREMOVE=1", "X_OWN=1",
	}
	m := Message{Lines: lines}
	want := []string{"STATUS=hello", "EXTEND_TIMEOUT_USEC=5", "FDNAME=x", "FDSTOREREMOVE=1", "X_OWN=1"}
	if got := m.Forwardable(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := m.Without("STATUS", "X_OWN"); len(got) != len(lines)-2 || len(m.Lines) != len(lines) {
		t.Errorf("Without: %q", got)
	}
}

func FuzzMessage(f *testing.F) {
	for _, seed := range []string{"READY=1\n", "A=\r\nB=\x00", "=\n\xff=1\nFDSTORE=1", "BARRIER=1", "EXTEND_TIMEOUT_USEC=99999999999999999999"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, datagram []byte) {
		lines, err := parseLines(datagram)
		if err != nil && lines != nil {
			t.Fatal("lines of a void datagram")
		}
		m := Message{Lines: lines}
		m.Ready()
		m.Status()
		m.Errno()
		if m.MainPID() < 0 || m.ExtendTimeout() < 0 {
			t.Fatal("negative")
		}
		for _, line := range m.Forwardable() {
			key, _, found := strings.Cut(line, "=")
			if !found || key == "" || strings.ContainsAny(line, "\r\n\x00") || slices.Contains(notForwarded, key) {
				t.Fatalf("forwarded %q", line)
			}
		}
	})
}
