//go:build unix

package control

import (
	"fmt"
	"os"
	"syscall"
)

func restrict(fd uintptr) { _ = syscall.Fchmod(int(fd), 0o600) }

func checkOwner(dir string, info os.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	others := os.FileMode(0o002)
	if int(st.Gid) != os.Getegid() {
		others |= 0o020
	}
	switch {
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return fmt.Errorf("the directory of the control socket, %s, belongs to user %d, who could replace the socket; it has to be root's or user %d's", dir, st.Uid, os.Geteuid())
	case info.Mode()&others != 0 && info.Mode()&os.ModeSticky == 0:
		return fmt.Errorf("the directory of the control socket, %s, has mode %v, so that others could replace the socket; chmod go-w %s", dir, info.Mode(), dir)
	}
	return nil
}
