package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/handoff-dev/handoff/internal/systemctl"
)

// workingDirectory is WorkingDirectory=, "" if that is not set or is a home.
func workingDirectory(service systemctl.Properties) string {
	dir := strings.TrimLeft(service.Get("WorkingDirectory"), "!-") // it may be missing
	if !filepath.IsAbs(dir) {
		return ""
	}
	return filepath.Clean(dir)
}

// linked tells whether a component of the service's working directory is a symbolic
// link. Where it leads to is for the service to find out, which may have another root.
func (s System) linked(service systemctl.Properties) bool {
	path := filepath.Join(s.Root, service.Get("RootDirectory"))
	for _, name := range strings.Split(workingDirectory(service), "/") {
		path = filepath.Join(path, name)
		if info, err := os.Lstat(path); name != "" && err == nil && info.Mode()&os.ModeSymlink != 0 {
			return true
		}
	}
	return false
}

// goneDir returns the directory in which a process stands if that was removed.
func (s System) goneDir(pid int) string {
	target, err := os.Readlink(s.proc(pid, "cwd"))
	dir, marked := strings.CutSuffix(target, " (deleted)") // proc_pid_cwd(5)
	if err != nil || !marked {
		return ""
	}
	if _, err := os.Lstat(s.proc(pid, "root", target)); err == nil {
		return "" // it is called so
	}
	return dir
}

func checkDirectory(r *report) {
	dir, p := workingDirectory(r.Service), r.Process
	if r.LinkedDirectory {
		entry := "PWD=" + dir
		shown := r.get("Environment") // words, in quotes where they need it
		written := strings.Contains(" "+shown+" ", " "+entry+" ") || strings.Contains(shown, `"`+entry+`"`)
		known := written
		if p != nil && p.Env != nil {
			known = filepath.Clean(p.Env["PWD"]) == dir
		}
		mend := "Set Environment=" + entry + " beside it, or Options.Dir in the program."
		if written {
			mend = "Restart the service once, for Environment=" + entry + " to count."
		}
		if !known {
			r.add(Warning, "working-directory-link",
				"WorkingDirectory="+dir+" is by a symbolic link, of which systemd tells the service nothing, so its successors start in what the link led to at the start, also when it has been moved.", mend)
		}
	}
	if p != nil && p.GoneDir != "" {
		r.add(Warning, "working-directory-gone",
			fmt.Sprintf("The directory in which the main process, %d, stands was removed (%s), and its successors start there too, where they find no file by a relative path.", p.PID, p.GoneDir),
			"Restart the service, or set Options.Dir in the program.")
	}
}
