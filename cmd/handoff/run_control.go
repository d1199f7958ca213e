package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/handoff-dev/handoff/internal/unixpath"
)

// controlName is the file of the control socket in a directory that holders share.
const controlName = "run-%d.sock"

// placeControl says where the control socket is to be.
func (o *runOptions) placeControl() {
	if o.controlSet {
		if o.control != "none" {
			o.hold.Control = o.control
		}
		return
	}
	o.hold.ControlOptional = true
	dir, err := controlDirectory(os.Getenv, os.Geteuid())
	if err != nil {
		o.hold.Log("there is no control socket: " + err.Error())
		return
	}
	o.hold.Control = filepath.Join(dir, fmt.Sprintf(controlName, os.Getpid()))
	sweepControl(dir)
}

// controlDirectory is where the control socket is by default.
func controlDirectory(getenv func(string) string, uid int) (string, error) {
	given, _, _ := strings.Cut(getenv("RUNTIME_DIRECTORY"), ":") // systemd.exec(5)
	users := getenv("XDG_RUNTIME_DIR")
	switch {
	case filepath.IsAbs(given):
		return given, nil
	case filepath.IsAbs(users):
		return filepath.Join(users, "handoff"), nil
	case uid == 0:
		return "/run/handoff", nil
	}
	return "", errors.New("neither RUNTIME_DIRECTORY nor XDG_RUNTIME_DIR names a directory for it; --control PATH does, and --control none does without")
}

// leftBehind is how old a socket is at least that a killed holder has left: one that is being
// opened is not taken for that.
const leftBehind = 10 * time.Second

// sweepControl removes the sockets that holders have left in dir that were killed: there
// is no process of that pid, and nobody listens. The pid alone does not tell, for the
// directory may be one that containers share.
func sweepControl(dir string) {
	paths, err := filepath.Glob(filepath.Join(dir, "run-*.sock"))
	if err != nil {
		return
	}
	for _, path := range paths {
		var pid int
		if n, err := fmt.Sscanf(filepath.Base(path), controlName, &pid); n != 1 || err != nil || pid <= 0 {
			continue
		}
		info, err := os.Lstat(path)
		if err != nil || info.Mode()&os.ModeSocket == 0 || time.Since(info.ModTime()) < leftBehind || alive(pid) {
			continue
		}
		unlock := unixpath.Lock(path)
		_ = unixpath.RemoveStale("unix", path)
		unlock()
	}
}
