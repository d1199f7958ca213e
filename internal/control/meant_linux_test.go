package control

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"testing"
)

func TestASocketOfAnotherUserIsNotTheServices(t *testing.T) {
	t.Parallel()
	path, _, _ := serve(t, -1, Rule{UID: os.Geteuid(), GID: -1})
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	own := os.Geteuid()
	for _, test := range []struct {
		pid, uid int
		want     error
	}{{os.Getpid(), own + 1, nil}, {os.Getppid(), own, nil}, {os.Getppid(), own + 1, ErrOther}} {
		if err := CheckPeer(c, test.pid, test.uid); !errors.Is(err, test.want) {
			t.Errorf("process %d of user %d: %v, want %v", test.pid, test.uid, err, test.want)
		}
	}
}

func TestListeningAgainKeepsWhoWaits(t *testing.T) {
	t.Parallel()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: t.TempDir() + "/s"})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := ListenAgain(ln); err != nil {
		t.Fatal(err)
	}
	if got, err := ln.Accept(); err != nil {
		t.Error(err)
	} else {
		got.Close()
	}
}

func TestTheUserOfAProcessIsItsEffectiveOne(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	if uid, err := UserOf(cmd.Process.Pid); uid != os.Geteuid() || err != nil {
		t.Errorf("%d (%v)", uid, err)
	}
}
