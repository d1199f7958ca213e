package notify_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/needed"
	"github.com/handoff-dev/handoff/internal/notify"
)

func TestOnlyTheSuccessorsMessagesCountAsItsOwn(t *testing.T) {
	t.Parallel()
	r := listen(t)
	successor := child(t, "wait", nil)
	stranger := child(t, "notify", r)
	m := receive(t, r)
	if m.PID != stranger.Process.Pid || m.UID != os.Getuid() || m.GID != os.Getgid() || !m.Ready() {
		t.Errorf("got %+v from process %d", m, stranger.Process.Pid)
	}
	if m.From(successor.Process.Pid) {
		t.Error("a stranger's READY counted as the successor's")
	}
	if !m.From(stranger.Process.Pid) || !m.From(os.Getpid()) {
		t.Error("the sender's own READY, or a child's, did not count")
	}
	for _, nobody := range []int{0, -1, m.PID + 1<<22} {
		if m.From(nobody) {
			t.Errorf("counted as of process %d", nobody)
		}
	}
	receiveAll(r)
	stranger.finish(t)
	if notify.IsDescendant(m.PID, os.Getpid()) {
		t.Error("a process that is gone counted as a descendant")
	}
	if !m.From(os.Getpid()) {
		t.Error("what a process of this user said just before its end did not count")
	}
	if other := (notify.Message{PID: m.PID, UID: os.Getuid() + 1}); other.From(os.Getpid()) {
		t.Error("what another user's process said just before its end counted")
	}
	if (notify.Message{UID: os.Getuid()}).From(os.Getpid()) {
		t.Error("a message without a sender counted")
	}
}

func TestADescendantOfTheSuccessorCountsAsTheSuccessor(t *testing.T) {
	t.Parallel()
	r := listen(t)
	successor := child(t, "parent", r)
	m := receive(t, r)
	if m.PID == successor.Process.Pid || m.MainPID() != m.PID {
		t.Fatalf("got %+v; want it from a child of %d", m, successor.Process.Pid)
	}
	if !m.From(successor.Process.Pid) {
		t.Error("a grandchild's READY did not count")
	}
	if notify.IsDescendant(successor.Process.Pid, m.PID) {
		t.Error("a parent counted as its child's descendant")
	}
	receiveAll(r)
	successor.finish(t)
}

func TestASuccessorThatDroppedItsPrivilegesCounts(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can start a process of another user")
	}
	r := listen(t)
	// Not the test binary, which may lie where that user can't reach it.
	cmd := exec.Command(needed.Tool(t, "systemd-notify"), "--ready")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	p := start(t, cmd, "NOTIFY_SOCKET="+r.Address())
	m := receive(t, r)
	if m.UID != 65534 || m.GID != 65534 || !m.From(p.Process.Pid) {
		t.Errorf("got %+v", m)
	}
	receiveAll(r)
	p.finish(t)
}

func TestSystemdNotifyIsUnderstood(t *testing.T) {
	t.Parallel()
	needed.Tool(t, "systemd-notify")
	r := listen(t)
	// Run as root it sends in the name of its parent, otherwise in its own.
	script := `systemd-notify --ready --status="up and running" --pid=$$ X_OWN=1; echo done`
	p := start(t, exec.Command("sh", "-c", script), "NOTIFY_SOCKET="+r.Address())
	m := receive(t, r)
	own, _ := m.Get("X_OWN")
	if !m.Ready() || m.Status() != "up and running" || m.MainPID() != p.Process.Pid || own != "1" || !m.From(p.Process.Pid) {
		t.Errorf("got %+v", m)
	}
	receiveAll(r) // systemd-notify waits for its barrier
	if text, err := p.stdout.ReadString('\n'); text != "done\n" {
		t.Errorf("%q, %v", text, err)
	}
	p.finish(t)
}

func TestPythonsSystemdModuleIsUnderstood(t *testing.T) {
	t.Parallel()
	const python = "/usr/bin/python3" // the one that Debian's python3-systemd is for
	needed.Success(t, "python3-systemd", python, "-c", "import systemd.daemon")
	r := listen(t)
	r.KeepStored = true
	script := `import systemd.daemon as d, sys
assert d.notify("READY=1\nSTATUS=från python")
assert d.notify("FDSTORE=1\nFDNAME=in", fds=[0])
sys.stdin.read()`
	p := start(t, exec.Command(python, "-c", script), "NOTIFY_SOCKET="+r.Address(), "PYTHONIOENCODING=utf8")
	if m := receive(t, r); !m.Ready() || m.Status() != "från python" || m.PID != p.Process.Pid || !m.From(p.Process.Pid) {
		t.Errorf("got %+v", m)
	}
	m := receive(t, r)
	defer m.Close()
	if name, _ := m.Get("FDNAME"); name != "in" || len(m.Files) != 1 {
		t.Errorf("got %+v", m)
	}
}

func TestAReceiverWithAPathIsReachedFromAnotherNetworkNamespace(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can make a network namespace")
	}
	r, err := notify.ListenPath()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.SetReadDeadline(time.Now().Add(20 * time.Second))
	if !notify.IsReceiver(r.Address()) || r.Address()[0] != '/' {
		t.Fatalf("its address is %s", r.Address())
	}
	p := start(t, exec.Command(needed.Tool(t, "unshare"), "-n", needed.Tool(t, "systemd-notify"), "--no-block", "--ready"), "NOTIFY_SOCKET="+r.Address())
	if m := receive(t, r); !m.Ready() || !m.From(os.Getpid()) {
		t.Errorf("got %+v", m)
	}
	p.finish(t)
	r.Close()
	if _, err := os.Lstat(r.Address()); !os.IsNotExist(err) {
		t.Errorf("the file is left: %v", err)
	}
}
