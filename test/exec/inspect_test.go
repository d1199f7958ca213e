//go:build linux

package exec

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestInspectUnderSystemdSocketActivateShowsWhatItWasGiven(t *testing.T) {
	t.Parallel()
	activate := proctest.RequireTool(t, "systemd-socket-activate")
	addr, path := address(t), folder(t)+"/s"
	p := proctest.Start(t, proctest.Command(activate, "-l", addr, "-l", path, "--fdname=http:ctl", binary(t), "inspect"))
	conn := dial(t, p, "tcp", addr)
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
	conn.Close()
	want := fmt.Sprintf(`LISTEN_PID=%d
LISTEN_FDS=2
LISTEN_FDNAMES=http:ctl
INDEX  FD  NAME  KIND                  ADDRESS%sPEER  STATE      FLAGS
0      3   http  TCP listener          %s%s-     listening  reuseaddr
1      4   ctl   unix stream listener  %s%s-     listening  reuseaddr
`, p.Pid(), pad("ADDRESS", addr, path), addr, pad(addr, addr, path), path, pad(path, addr, path))
	if out := p.Output(); !strings.HasSuffix(out, want) {
		t.Errorf("it says\n%s\nwant\n%s", out, want)
	}
}

// pad is what is behind a cell in a column with these, the last two being of addresses.
func pad(cell string, others ...string) string {
	widest := len("ADDRESS")
	for _, o := range others {
		widest = max(widest, len(o))
	}
	return strings.Repeat(" ", widest-len(cell)+2)
}

func TestInspectShowsEachKindAsJSON(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	out, err := handoff(t, "exec", "-q", "-l", "web=http::127.0.0.1:0?reuseport&keepalive&defer-accept", "-l", "udp::127.0.0.1:0", "-l", "unixgram::"+dir+"/d",
		"-l", "q=seqpacket::"+dir+"/q", "-l", "null=fd::0", "--", binary(t), "inspect", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Environment map[string]string
		Sockets     []struct {
			Index, FD            int
			Name, Kind, State    string
			Address, Peer, Error string
			Flags                []string
		}
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"0 3 web TCP listener listening [reuseaddr reuseport keepalive defer-accept]", "1 4 unknown UDP socket bound []",
		"2 5 unknown unix datagram socket bound []", "3 6 q unix seqpacket listener listening []", "4 7 null character device  []",
	}
	for i, s := range got.Sockets {
		if line := fmt.Sprint(s.Index, s.FD, " ", s.Name, " ", s.Kind, " ", s.State, " ", s.Flags); i >= len(want) || line != want[i] {
			t.Errorf("socket %d is %q", i, line)
		}
	}
	if len(got.Sockets) != len(want) || got.Environment["LISTEN_FDS"] != "5" || got.Sockets[3].Address != dir+"/q" {
		t.Errorf("it says %s", out)
	}
}

func TestInspectSaysWhatIsWrongWithTheEnvironment(t *testing.T) {
	t.Parallel()
	for env, want := range map[string]struct {
		code int
		text string
	}{
		"":                                  {0, "was passed no sockets\n"},
		"LISTEN_FDS=2 LISTEN_PID=1":         {0, "LISTEN_PID means another process"},
		"LISTEN_FDS=two":                    {1, `LISTEN_FDS="two" can't be used: expected how many`},
		"LISTEN_FDS=1":                      {1, "descriptor 3 "},
		"LISTEN_FDS=1 LISTEN_FDNAMES=a:b":   {1, `LISTEN_FDNAMES="a:b" can't be used: expected 1 names`},
		"LISTEN_FDS=1 LISTEN_FDS_FIRST_FD=": {1, "LISTEN_FDS_FIRST_FD"},
		"LISTEN_FDS=1 LISTEN_PID=me":        {1, `LISTEN_PID="me"`},
	} {
		cmd := handoff(t, "inspect")
		cmd.Env = append(cmd.Env, strings.Fields(env)...)
		out, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != want.code || !strings.Contains(string(out), want.text) {
			t.Errorf("with %q: exit code %d, %v, %s", env, code, err, out)
		}
	}
}

// inspected is what the tests look for in what is said of a process.
type inspected struct {
	PID             int
	Executable      string
	ExecutableState string
	Handoff         bool
	Meant           bool
	Descriptors     []struct {
		FD                               int
		Name, Kind, Address, Peer, State string
		Waiting                          int
		Shared                           []int
	}
	Others []struct {
		PID      int
		Name     string
		Relation string
		Shared   int
	}
}

func inspect(t *testing.T, pid string) (p inspected, err error) {
	t.Helper()
	out, err := handoff(t, "inspect", "--json", "--pid", pid).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return p, fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	if err == nil {
		err = json.Unmarshal(out, &p)
	}
	return p, err
}

func mustInspect(t *testing.T, pid int) inspected {
	t.Helper()
	p, err := inspect(t, strconv.Itoa(pid))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p inspected) others() (all []string) {
	for _, o := range p.Others {
		all = append(all, fmt.Sprintf("%d %s %d", o.PID, o.Relation, o.Shared))
	}
	return all
}

func TestInspectShowsWhatAProcessHolds(t *testing.T) {
	t.Parallel()
	addr, path := address(t), folder(t)+"/s"
	p := proctest.Start(t, handoff(t, "exec", "-q", "-l", "web="+addr, "-l", path, "-l", "u=udp::"+addr, "--", "sleep", "1000"))
	became(t, p, "sleep")
	for range 2 { // which nobody accepts
		dial(t, p, "tcp", addr)
	}
	got := mustInspect(t, p.Pid())
	var lines []string
	for _, d := range got.Descriptors {
		if d.FD > 2 {
			lines = append(lines, fmt.Sprintf("%d %s %s %s %s %d", d.FD, d.Name, d.Kind, d.Address, d.State, d.Waiting))
		}
	}
	want := []string{
		"3 web TCP listener " + addr + " listening 2", "4 unknown unix stream listener " + path + " listening 0", "5 u UDP socket " + addr + " bound 0",
	}
	sleep, err := filepath.EvalSymlinks("/proc/" + strconv.Itoa(p.Pid()) + "/exe")
	if err != nil || !slices.Equal(lines, want) || got.Executable != sleep || got.ExecutableState != "" || got.Handoff || !got.Meant || len(got.Others) != 0 {
		t.Errorf("it says %+v, descriptors %q, want %q", got, lines, want)
	}
	out, err := handoff(t, "inspect", "-p", strconv.Itoa(p.Pid())).CombinedOutput()
	for _, want := range []string{fmt.Sprintf("process %d (sleep), child of %d ", p.Pid(), os.Getpid()), "listening (2 wait)", "not shown without --all: 3 other files\n"} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%v, there is no %q in\n%s", err, want, out)
		}
	}
	p.Stop(syscall.SIGTERM)
}

func TestInspectTellsPredecessorAndSuccessor(t *testing.T) {
	t.Parallel()
	s := graceful.Start(t)
	first := s.Main()
	conn, err := net.Dial("tcp", s.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(proctest.Deadline(t))
	r := bufio.NewReader(conn)
	until := func(words string) {
		t.Helper()
		for line := ""; !strings.Contains(line, words); {
			if line, err = r.ReadString('\n'); err != nil {
				t.Fatalf("waiting for %q: %v", words, err)
			}
		}
	}
	// A request that isn't all there holds the first generation up.
	fmt.Fprint(conn, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
	until("100 Continue")
	second := s.Upgrade()

	p := mustInspect(t, first)
	if got := p.others(); len(got) != 1 || !strings.HasPrefix(got[0], fmt.Sprintf("%d successor ", second)) || p.ExecutableState != "replaced" || !p.Handoff {
		t.Errorf("of the first, while it drains, it says %+v", p)
	}
	p, err = inspect(t, s.PIDFile)
	if got := p.others(); err != nil || p.PID != second || len(got) != 1 || !strings.HasPrefix(got[0], fmt.Sprintf("%d predecessor ", first)) || p.ExecutableState != "" || !p.Meant {
		t.Errorf("of the second, while the first drains, it says %+v, %v", p, err)
	}
	fmt.Fprint(conn, "x")
	until("200 OK")
	conn.Close()
	if err := s.First.Wait(); err != nil {
		t.Error(err)
	}
	if got := mustInspect(t, second); len(got.Others) != 0 {
		t.Errorf("of the second, when the first has ended, it says %+v", got)
	}
	s.Stop()
}

func TestInspectTellsAWorkerFromASuccessor(t *testing.T) {
	t.Parallel()
	gunicorn := proctest.RequireTool(t, "/usr/bin/gunicorn")
	addr := address(t)
	cmd := handoff(t, "exec", "-l", "http="+addr, "--", gunicorn, "--chdir", "../receivers/testdata", "--workers", "1", "gunicorn_app:app")
	cmd.Env = append(cmd.Env, "PYTHONDONTWRITEBYTECODE=1")
	p := proctest.Start(t, cmd)
	var got inspected
	p.Until("there is a worker", func() (err error) {
		if got, err = inspect(t, strconv.Itoa(p.Pid())); err == nil && len(got.Others) == 0 {
			err = errors.New("there is none yet")
		}
		return err
	})
	if want := []string{fmt.Sprintf("%d worker 1", got.Others[0].PID)}; !slices.Equal(got.others(), want) {
		t.Errorf("the others are %q, want %q", got.others(), want)
	}
	if of := mustInspect(t, got.Others[0].PID); !slices.Equal(of.others(), []string{fmt.Sprintf("%d parent 1", p.Pid())}) {
		t.Errorf("of the worker it says %q", of.others())
	}
	p.Stop(syscall.SIGTERM)
}

func TestInspectSaysWhyItSeesNothing(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	zombie := proctest.Command("true")
	if err := zombie.Start(); err != nil {
		t.Fatal(err)
	}
	defer zombie.Wait()
	proctest.Until(t, "it has ended", func() error {
		if out, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", zombie.Process.Pid)); err != nil || !strings.Contains(string(out), "State:\tZ") {
			return fmt.Errorf("%v, %s", err, out)
		}
		return nil
	})
	if err := os.WriteFile(dir+"/pid", []byte("many\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"--pid=4194304":         {1, "error: look at process: process 4194304: there is no such process\n"},
		"--pid=0":               {2, `--pid says "0": want a process's number`},
		"--pid=me":              {2, `--pid says "me"`},
		"--pid=" + dir + "/no":  {1, "no such file"},
		"--pid=" + dir + "/pid": {2, `/pid says "many"`},
		"--all":                 {2, "--all is for --pid"},
		"now":                   {2, "unknown command"},
	} {
		cmd := handoff(t, append([]string{"inspect"}, strings.Fields(args)...)...)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != want.code || !strings.Contains(string(out), want.text) {
			t.Errorf("%s: exit code %d, %s", args, code, out)
		}
	}
	if os.Getuid() != 0 {
		return
	}
	setpriv := proctest.RequireTool(t, "setpriv")
	out, _ := proctest.Command(setpriv, "--reuid=65534", "--clear-groups", binary(t), "inspect", "--pid", strconv.Itoa(os.Getpid())).CombinedOutput()
	if !strings.Contains(string(out), "hint: it belongs to somebody else") {
		t.Errorf("as nobody: %s", out)
	}
}
