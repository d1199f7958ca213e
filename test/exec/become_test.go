//go:build linux

package exec

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// stale is what lies about in an environment, and leads readers astray.
var stale = []string{
	"LISTEN_PID=1", "LISTEN_FDS=7", "LISTEN_FDNAMES=a:b", "LISTEN_PIDFDID=12345", "LISTEN_FDS_FIRST_FD=9",
	"HANDOFF_LINK=5 1", "REMOTE_ADDR=192.0.2.1", "REMOTE_PORT=1",
}

var told = []string{"LISTEN_", "HANDOFF_LINK", "HANDOFF_STAGE", "REMOTE_"}

func TestTheProgramHasTheSocketsAndTheStandardDescriptorsAlone(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	cmd := handoff(t, "exec", "-l", "http=http::127.0.0.1:0", "-s", dir+"/s", "-l", "udp::127.0.0.1:0", "-l", "seqpacket::"+dir+"/q", "--", "sleep", "1000")
	cmd.Env = append(cmd.Env, stale...)
	// What a careless parent leaves open.
	stray, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer stray.Close()
	cmd.ExtraFiles = []*os.File{stray, nil, nil, stray, stray, stray, stray, stray, stray}
	p := proctest.Start(t, cmd)
	became(t, p, "sleep")
	wantSockets(t, p, p.Pid(), 3, 4)
	wantLines(t, "environment", environment(t, p.Pid(), told...),
		"LISTEN_FDS=4", "LISTEN_FDNAMES=http:unknown:unknown:unknown", fmt.Sprintf("LISTEN_PID=%d", p.Pid()))
	dial(t, p, "unix", dir+"/s")
	dial(t, p, "unixpacket", dir+"/q")
	p.Stop(syscall.SIGTERM)
}

func TestSystemfdsSpecificationsAndFlagsWork(t *testing.T) {
	t.Parallel()
	port := strconv.Itoa(proctest.FreePort(t))
	udp := strconv.Itoa(proctest.FreePort(t))
	dir := folder(t)
	cmd := handoff(t, "exec", "--no-pid", "-q", "-s", "http::"+port, "-s", "https::0", "-s", "tcp::127.0.0.1:0", "-s", "udp::"+udp, "-s", "unix::app.sock", "-s", "./b.sock",
		"-w", "addresses", "--", "sleep", "1000")
	cmd.Dir = dir
	p := proctest.Start(t, cmd)
	became(t, p, "sleep")
	wantSockets(t, p, p.Pid(), 3, 6)
	wantLines(t, "environment", environment(t, p.Pid(), told...), "LISTEN_FDS=6") // systemfd's: no names, no pid
	dial(t, p, "tcp", "127.0.0.1:"+port)
	dial(t, p, "unix", dir+"/app.sock")
	dial(t, p, "unix", dir+"/b.sock")
	if out := p.Output(); out != "" {
		t.Errorf("for all of --quiet it says %q", out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "addresses"))
	if err != nil || !strings.HasPrefix(string(text), "http://[::]:"+port+"/\nhttps://[::]:") || strings.Count(string(text), "\n") != 6 {
		t.Errorf("the file of addresses says %q, %v", text, err)
	}
	p.Stop(syscall.SIGTERM)
}

func TestTheFirstDescriptorMayBeAnother(t *testing.T) {
	t.Parallel()
	p := proctest.Start(t, handoff(t, "exec", "--first-fd=7", "--fdname=a:b", "-l", "127.0.0.1:0", "-l", "127.0.0.1:0", "sleep", "1000"))
	became(t, p, "sleep")
	wantSockets(t, p, p.Pid(), 7, 2)
	wantLines(t, "environment", environment(t, p.Pid(), told...),
		"LISTEN_FDS=2", "LISTEN_FDS_FIRST_FD=7", "LISTEN_FDNAMES=a:b", fmt.Sprintf("LISTEN_PID=%d", p.Pid()))
	p.Stop(syscall.SIGTERM)
}

func TestInheritedSocketsComeBeforeItsOwn(t *testing.T) {
	t.Parallel()
	addr := address(t)
	// It becomes itself: three times the same pid.
	self := binary(t)
	p := proctest.Start(t, handoff(t, "exec", "-l", "first="+addr, "--", self, "exec", "--first-fd=9", "-l", "second=127.0.0.1:0", "--",
		self, "exec", "-l", "127.0.0.1:0", "--", "sleep", "1000"))
	became(t, p, "sleep")
	wantSockets(t, p, p.Pid(), 3, 3)
	wantLines(t, "environment", environment(t, p.Pid(), told...),
		"LISTEN_FDS=3", "LISTEN_FDNAMES=first:second:unknown", fmt.Sprintf("LISTEN_PID=%d", p.Pid()))
	dial(t, p, "tcp", addr)
	p.Stop(syscall.SIGTERM)
}

func TestAPassedDescriptorIsASocketOfTheProgram(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := handoff(t, "exec", "-l", "web=fd::3", "-l", "127.0.0.1:0", "sleep", "1000")
	cmd.ExtraFiles = []*os.File{f}
	p := proctest.Start(t, cmd)
	became(t, p, "sleep")
	wantSockets(t, p, p.Pid(), 3, 2)
	p.Stop(syscall.SIGTERM)
}

func TestTheEnvironmentIsSet(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args string
		want []string
	}{
		{"-E A_NEW=1=2 -E A_OLD=y -E A_NONE", []string{"A_KEPT=k", "A_NEW=1=2", "A_OLD=y", "PATH=" + os.Getenv("PATH")}},
		{"--clean-env -E A_NEW=1 -E A_OLD -E A_NONE", []string{"A_NEW=1", "A_OLD=x", "PATH=" + os.Getenv("PATH")}},
	} {
		args := append(strings.Fields("exec -l 127.0.0.1:0 "+test.args), "sleep", "1000")
		cmd := handoff(t, args...)
		cmd.Env = append(cmd.Env, "A_OLD=x", "A_KEPT=k")
		p := proctest.Start(t, cmd)
		became(t, p, "sleep")
		wantLines(t, test.args, environment(t, p.Pid(), "A_", "PATH="), test.want...)
		p.Stop(syscall.SIGTERM)
	}
}

func TestTheFlagsAreForSpecsThatLeaveItOpen(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	for flags, want := range map[string][]string{
		"--datagram":  {"UDP socket", "unix datagram socket", "TCP listener"},
		"--seqpacket": {"", "unix seqpacket listener", "TCP listener"},
	} {
		args := []string{"exec", "-q", flags, "-l", dir + "/s" + flags, "-l", "tcp::127.0.0.1:0"}
		if want[0] != "" {
			args = append([]string{"exec", "-q", flags, "-l", "127.0.0.1:0"}, args[3:]...)
		}
		out, err := handoff(t, append(args, "--", binary(t), "inspect")...).CombinedOutput()
		for _, kind := range want {
			if err != nil || !strings.Contains(string(out), kind) {
				t.Errorf("%s: %v, there is no %q in\n%s", flags, err, kind, out)
			}
		}
	}
	p := proctest.Start(t, handoff(t, "exec", "--backlog=17", "-l", "127.0.0.1:0", "-l", "127.0.0.1:0?backlog=3", "sleep", "1000"))
	became(t, p, "sleep")
	for fd, want := range map[int]int{3: 17, 4: 3} {
		if got := backlog(t, p.Pid(), fd); got != want {
			t.Errorf("the backlog of descriptor %d is %d, want %d", fd, got, want)
		}
	}
	p.Stop(syscall.SIGTERM)
}

// backlog is what the kernel tells of another process's listener.
func backlog(t *testing.T, pid, fd int) int {
	t.Helper()
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(process)
	socket, err := unix.PidfdGetfd(process, fd, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(socket)
	info, err := unix.GetsockoptTCPInfo(socket, unix.SOL_TCP, unix.TCP_INFO)
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Sacked)
}

func TestLazyStartsTheProgramOnTheFirstConnection(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	p := proctest.Start(t, handoff(t, "exec", "--lazy", "-l", dir+"/s", "-l", "127.0.0.1:0", "--", "sh", "-c", "echo started >"+dir+"/started; exec sleep 1000"))
	p.Until("it says that it listens", func() error {
		if strings.Count(p.Output(), "listening on") < 2 {
			return fmt.Errorf("it says %q", p.Output())
		}
		return nil
	})
	if _, err := os.Stat(dir + "/started"); err == nil {
		t.Error("the program was started before there was a connection")
	}
	dial(t, p, "unix", dir+"/s")
	became(t, p, "sleep")
	wantSockets(t, p, p.Pid(), 3, 2)
	p.Stop(syscall.SIGTERM)
}

func TestLazyEndsBySIGTERMAndLeavesNoFile(t *testing.T) {
	t.Parallel()
	path := folder(t) + "/s"
	p := proctest.Start(t, handoff(t, "exec", "--lazy", "-l", path, "--", "sleep", "1000"))
	p.Until("a socket", func() error { _, err := os.Stat(path); return err })
	if err := p.Stop(syscall.SIGTERM); err != nil {
		t.Errorf("it has ended with %v", err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket's file is still there")
	}
}

func TestInetdHasTheSocketAsStandardInputAndOutput(t *testing.T) {
	t.Parallel()
	p := proctest.Start(t, handoff(t, "exec", "--inetd", "-l", "127.0.0.1:0", "sleep", "1000"))
	became(t, p, "sleep")
	wantSockets(t, p, p.Pid(), 3, 0)
	all := descriptors(t, p.Pid())
	if !strings.HasPrefix(all[0], "socket:") || all[0] != all[1] || all[1] == all[2] {
		t.Errorf("the descriptors are %v", all)
	}
	wantLines(t, "environment", environment(t, p.Pid(), told...))
	p.Stop(syscall.SIGTERM)
}

// A program that is told to ignore a signal, as nohup(1) and a shell's background do it,
// is to find it so.
func TestIgnoredSignalsStayIgnored(t *testing.T) {
	t.Parallel()
	p := proctest.Start(t, proctest.Command("sh", "-c", `trap "" INT HUP; exec "$0" "$@"`, binary(t), "exec", "-l", "127.0.0.1:0", "--", "sleep", "1000"))
	became(t, p, "sleep")
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if mask, ok := strings.CutPrefix(line, "SigIgn:\t"); ok && !strings.HasSuffix(mask, "3\n") { // HUP is 1, INT is 2
			t.Errorf("ignored are %s", mask)
		}
	}
	p.Stop(syscall.SIGTERM)
}

func TestExitCodesTellWhoseFaultItIs(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, text := range map[string]string{"noexec": "#!/bin/sh\n", "format": "echo this has no first line\n", "interpreter": "#!/no/such/interpreter\n"} {
		mode := os.FileMode(0o755)
		if name == "noexec" {
			mode = 0o644
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	ok := []string{"-q", "-l", dir + "/s"}
	for _, test := range []struct {
		args   []string
		code   int
		stderr string // contained in it
	}{
		{append(ok, "--", "sh", "-c", "exit 42"), 42, ""},
		{append(ok, "--", "true"), 0, ""},
		{append(ok, "--", "no-such-program-here"), 127, "error: execute no-such-program-here: executable file not found in $PATH\n"},
		{append(ok, "--", dir+"/none"), 127, "no such file"},
		{append(ok, "--", dir+"/interpreter"), 127, "no such file"},
		{append(ok, "--", dir+"/noexec"), 126, "permission denied"},
		{append(ok, "--", dir), 126, "error: "},
		{append(ok, "--", dir+"/format"), 126, "exec format error\nhint: it is for another machine, or a script"},
		{[]string{"-l", taken.Addr().String(), "true"}, 125, "address already in use\nhint: another process has the address"},
		{[]string{"-l", dir + "/none/s", "true"}, 125, "the folder " + dir + "/none is missing"},
		{[]string{"-l", "fd::77", "true"}, 125, "descriptor 77 is not open"},
		{[]string{"-l", "80x", "true"}, 2, "  80x\n  ^\n"},
		{[]string{"true"}, 2, "error: there is no socket\nhint: open one by --listen, such as -l 8080\n"},
		{ok, 2, "the program is missing"},
		{append(ok, "--accept", "-d", "true"), 2, "exclude each other"},
		{append(ok, "--accept", "-l", "udp::1", "true"), 2, "nothing can be accepted"},
		{append(ok, "--inetd", "-l", "127.0.0.1:0", "true"), 2, "--inetd is for one socket"},
		{append(ok, "--first-fd=2", "true"), 2, "want 3 or more"},
		{append(ok, "--fdname=a:b", "true"), 2, "--fdname gives 2 names, and there are 1 sockets"},
		{append(ok, "--fdname=a\\b", "true"), 2, "--fdname \"a\\\\b\": want"},
		{append(ok, "--fdname=", "true"), 2, "--fdname \"\": want"},
		{append(ok, "-E", "LISTEN_FDS=3", "true"), 2, "sets it itself"},
		{append(ok, "-E", "=3", "true"), 2, "VAR=VALUE"},
		{append(ok, "--frobnicate", "true"), 2, "hint: see 'handoff exec --help'"},
	} {
		cmd := handoff(t, append([]string{"exec"}, test.args...)...)
		out, err := cmd.CombinedOutput()
		if _, bad := err.(*exec.ExitError); err != nil && !bad {
			t.Fatal(err)
		}
		if code := cmd.ProcessState.ExitCode(); code != test.code || !strings.Contains(string(out), test.stderr) || test.stderr == "" && len(out) > 0 {
			t.Errorf("%q: exit code %d, want %d, with %q in\n%s", test.args, code, test.code, test.stderr, out)
		}
		_, err = os.Lstat(dir + "/s")
		if left := err == nil; left && test.code > 100 {
			t.Errorf("%q: the socket's file was left behind", test.args)
		}
		os.Remove(dir + "/s")
	}
}

func TestAWrongEnvironmentIsNamed(t *testing.T) {
	t.Parallel()
	cmd := handoff(t, "exec", "-l", "127.0.0.1:0", "true")
	cmd.Env = append(cmd.Env, "LISTEN_FDS=x")
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 125 || !strings.Contains(string(out), `LISTEN_FDS="x"`) || !strings.Contains(string(out), "hint:") {
		t.Errorf("exit code %d, %s", code, out)
	}
}
