package handoff

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"syscall"
)

// module is the path of the module that this package is part of. All packages of it
// that other modules can import have the stage inside.
const module = "github.com/handoff-dev/handoff"

// isKin tells whether cmd's program is built with this package, by the build
// information in its file: then it has the stage inside, and can be started without
// another one before it. What isn't clearly so, a script or a file that can't be
// read, isn't; nor is one that changes its user by being executed, which doesn't believe
// its environment.
//
// Without /proc nothing is: there the new process can't see what has leaked.
//
// The file may be another one when it is executed; see startKin for what happens
// then.
func isKin(cmd *exec.Cmd) bool {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		return false
	}
	path := cmd.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(cmd.Dir, path)
	}
	// O_NONBLOCK: a FIFO is no program, and opening it would wait.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() || st.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
		return false
	}
	return isBuiltWith(f)
}

// runsKin tells whether the process pid runs a program that is built with this package,
// whatever script or wrapper has started it.
func runsKin(pid int) bool {
	f, err := os.Open(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return false
	}
	defer f.Close()
	return isBuiltWith(f)
}

func isBuiltWith(f *os.File) bool {
	info, err := buildinfo.Read(f)
	return err == nil && (info.Main.Path == module ||
		slices.ContainsFunc(info.Deps, func(m *debug.Module) bool { return m.Path == module }))
}
