package doctor

import (
	"maps"
	"slices"
	"strings"
)

// checkRoot is about /proc: the successor is started by way of /proc/self/exe.
func checkRoot(r *report) {
	const mend = "Let the service see /proc: "
	rooted := r.get("RootDirectory") != "" || r.get("RootImage") != ""
	hidden := ""
	for _, name := range []string{"InaccessiblePaths", "TemporaryFileSystem"} {
		for _, p := range strings.Fields(r.get(name)) {
			p, _, _ = strings.Cut(strings.TrimLeft(p, "-+"), ":")
			if p == "/proc" {
				hidden = name
			}
		}
	}
	switch {
	case hidden != "":
		r.add(Error, "proc-hidden", "With /proc in "+hidden+"= no successor can be started.", mend+"take it out of "+hidden+"=.")
	case rooted && r.get("MountAPIVFS") == "no" && (r.Process == nil || r.Process.NoProc):
		r.add(Error, "proc-hidden", "With a root directory of its own and MountAPIVFS=no there is no /proc, and no successor can be started.", mend+"set MountAPIVFS=yes.")
	case r.Process != nil && r.Process.NoProc:
		r.add(Error, "proc-hidden", "The main process sees no /proc, and no successor can be started.", mend+"mount it in the service's root directory.")
	}
}

func checkPrograms(r *report) {
	for _, setting := range slices.Sorted(maps.Keys(r.Absent)) {
		what := "a successor can't be started"
		if setting == "ExecReload" {
			what = "a reload fails"
		}
		r.add(Error, "program-missing",
			"The program of "+setting+"=, "+r.Absent[setting]+", is not there, so "+what+".",
			"Put it there, below RootDirectory= if that is set, or correct the path.")
	}
}

func checkFamilies(r *report) {
	if !r.Service.Has("RestrictAddressFamilies") {
		return
	}
	if denied(r.get("RestrictAddressFamilies"), "AF_UNIX") {
		r.add(Error, "address-families",
			"RestrictAddressFamilies= has no AF_UNIX, so the program can't speak to systemd, nor a generation to the next.",
			"Add AF_UNIX to RestrictAddressFamilies=.")
	}
}

// killed is SystemCallErrorNumber= where a forbidden call ends the process.
const killed = "2147483646"

// systemCalls are those that only an upgrade needs; each was forbidden in turn, and
// the upgrade failed. Without others, such as clone, no server runs at all.
var systemCalls = []string{"dup3", "execve", "kill", "pipe2", "recvmsg", "sendmsg", "socketpair"}

// fatalSystemCalls are those that the program can do without if they fail, but is
// killed for where the filter kills.
var fatalSystemCalls = []string{"pidfd_open", "pidfd_send_signal", "waitid"}

func checkSystemCalls(r *report) {
	if !r.Service.Has("SystemCallFilter") {
		return
	}
	needed := slices.Clone(systemCalls)
	if r.get("SystemCallErrorNumber") == killed {
		needed = append(needed, fatalSystemCalls...)
	}
	needed = slices.DeleteFunc(needed, func(call string) bool { return !denied(r.get("SystemCallFilter"), call) })
	if len(needed) > 0 {
		r.add(Error, "system-calls",
			"SystemCallFilter= forbids what an upgrade needs: "+strings.Join(needed, " ")+".",
			"Add the line SystemCallFilter="+strings.Join(needed, " ")+" after the others.")
	}
}

// denied tells whether a list forbids a word: one of what is allowed, or after ~ of
// what is not. Behind a colon there may be an error number.
func denied(list, word string) bool {
	list, isDeny := strings.CutPrefix(list, "~")
	for _, w := range strings.Fields(list) {
		if name, _, _ := strings.Cut(w, ":"); name == word {
			return isDeny
		}
	}
	return !isDeny
}
