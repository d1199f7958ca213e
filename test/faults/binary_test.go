//go:build linux

package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

type execCmd = exec.Cmd

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: for namespaces, mounts and other users")
	}
}

// binaryScenarios: what is in the place of the executable when it is started.
func binaryScenarios() []*scenario {
	bad := func(what, cause string, put func(*service)) *scenario {
		return &scenario{
			step: "stage", fault: what, who: "binary", serves: theOld, cause: cause, short: true,
			inject: func(s *service) { put(s); s.hangUp() },
			undo:   func(s *service) { s.install(victim(s.t, "1")) },
		}
	}
	good := func(what string, put func(*service)) *scenario {
		c := bad(what, "", put)
		c.serves = theNew
		return c
	}
	return []*scenario{
		bad("deleted", "no such file or directory", func(s *service) { s.remove("victim") }),
		bad("a dangling symbolic link", "no such file or directory", func(s *service) { s.install("/nonexistent/victim") }),
		bad("a loop of symbolic links", "too many levels of symbolic links", func(s *service) { s.install(s.exe) }),
		bad("a directory", "permission denied", func(s *service) { s.install(s.dir) }),
		bad("empty", "exec format error", func(s *service) { s.installFile(nil, 0o755) }),
		bad("truncated to its header", "exec format error", func(s *service) { s.installFile(s.image()[:64], 0o755) }),
		bad("truncated to a half", "signal: ", func(s *service) { i := s.image(); s.installFile(i[:len(i)/2], 0o755) }),
		bad("not executable", "permission denied", func(s *service) { s.installFile(s.image(), 0o644) }),
		bad("of another architecture", "exec format error", func(s *service) {
			image := s.image()
			image[18] = 0xf3 - image[18]%2 // e_machine: RISC-V, or one that nobody has
			s.installFile(image, 0o755)
		}),
		bad("no program", "exec format error", func(s *service) { s.installFile([]byte("version 2\n"), 0o755) }),
		bad("a script without #!", "exec format error", func(s *service) {
			s.installFile([]byte("exec "+victim(s.t, "1")+` "$@"`+"\n"), 0o755)
		}),
		bad("a script whose interpreter is missing", "no such file or directory", func(s *service) {
			s.installFile([]byte("#!/nonexistent/sh\n"), 0o755)
		}),
		bad("a script that fails", "exit status 7", func(s *service) { s.installFile([]byte("#!/bin/sh\nexit 7\n"), 0o755) }),
		bad("still open for writing", "text file busy", func(s *service) {
			path := s.installFile(s.image(), 0o755)
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				s.t.Fatal(err)
			}
			s.t.Cleanup(func() { f.Close() })
		}),
		bad("on a noexec mount", "permission denied", func(s *service) {
			dir := s.mount("noexec", unix.MS_NOEXEC, "size=64m")
			path := filepath.Join(dir, "victim")
			if err := os.WriteFile(path, s.image(), 0o755); err != nil {
				s.t.Fatal(err)
			}
			s.install(path)
		}),
		good("replaced", func(s *service) { s.install(victim(s.t, "2")) }),
		good("a script with #!", func(s *service) {
			s.installFile([]byte("#!/bin/sh\nexec "+victim(s.t, "2")+` "$@"`+"\n"), 0o755)
		}),
	}
}

// image returns the executable's bytes.
func (s *service) image() []byte {
	s.t.Helper()
	image, err := os.ReadFile(victim(s.t, "1"))
	if err != nil {
		s.t.Fatal(err)
	}
	return image
}

// installFile makes a file the executable.
func (s *service) installFile(content []byte, mode os.FileMode) (path string) {
	s.t.Helper()
	path = filepath.Join(s.dir, "other")
	if err := os.WriteFile(path, content, mode); err != nil {
		s.t.Fatal(err)
	}
	s.install(path)
	return path
}

// mount makes a directory that is a file system of its own.
func (s *service) mount(name string, flags uintptr, options string) (dir string) {
	s.t.Helper()
	needRoot(s.t)
	dir = filepath.Join(s.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			s.t.Error(err)
		}
	})
	return dir
}
