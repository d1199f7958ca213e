package control

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

func TestControlGroupsOfOneServiceHoldEachOther(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"/", "/", true},
		{"/system.slice/app.service", "/system.slice/app.service", true},
		{"/system.slice/app.service", "/system.slice/app.service/main", true},
		{"/system.slice/app.service", "/system.slice/app.service2", false},
		{"/system.slice/app.service", "/system.slice/other.service", false},
		{"/", "/docker/0123", false},
		{"/docker/0123", "/docker/4567", false},
	} {
		if related(c.a, c.b) != c.want || related(c.b, c.a) != c.want {
			t.Errorf("%s and %s: %v, want %v", c.a, c.b, !c.want, c.want)
		}
	}
}

// Root in a container has the user id of the machine's root.
func TestAProcessInAContainerDoesNotNameTheSocketOfOneOutside(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root makes a pid namespace without a user namespace")
	}
	path, _, _ := serve(t, -1, Rule{UID: os.Geteuid(), GID: -1})
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, flags := range []uintptr{0, syscall.CLONE_NEWPID} {
		cmd := exec.Command("sleep", "60")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer cmd.Process.Kill()
		err := CheckPeer(c, cmd.Process.Pid, os.Geteuid())
		if want := flags != 0; errors.Is(err, ErrOther) != want {
			t.Errorf("clone flags %#x: %v, refused: want %v", flags, err, want)
		}
	}
}
