//go:build unix

package handoff

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// holdSocket returns a duplicate of f's descriptor, see dupFile.
func holdSocket(f File) (fd int, err error) {
	raw, err := f.Conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := raw.Control(func(from uintptr) {
		fd, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 3)
	})
	if cerr != nil {
		return -1, cerr
	}
	return fd, os.NewSyscallError("fcntl", err)
}

func closeSocket(fd int) { unix.Close(fd) }

// ownImage returns a path to execute the file that this process was started from,
// on Linux also when another is in its place by now.
func ownImage() (string, error) { return ownExecutable() }

// nameProcess gives the process the name that ps(1) and pgrep(1) know it by. It is
// "exe" after an execve of /proc/self/exe.
func nameProcess(name string) {
	if runtime.GOOS == "linux" {
		_ = os.WriteFile("/proc/self/comm", []byte(name), 0)
	}
}
