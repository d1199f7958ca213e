package control

import (
	"os"
	"strconv"
	"strings"
)

// strangers tells whether two processes of one user are certainly of two services: they
// are in different pid namespaces, or in control groups of which neither holds the other.
// Root in a container is the same user as the machine's root. What can't be seen, because
// a process has ended, tells nothing.
func strangers(a, b int) bool {
	if x, y := pidNamespace(a), pidNamespace(b); x != "" && y != "" && x != y {
		return true
	}
	x, y := controlGroup(a), controlGroup(b)
	return x != "" && y != "" && !related(x, y)
}

// related tells whether one control group is the other or holds it. The root, which holds
// all, is related to itself alone.
func related(a, b string) bool {
	if a == b {
		return true
	}
	if a == "/" || b == "/" {
		return false
	}
	return strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/")
}

// pidNamespace is that of a process: pid_namespaces(7).
func pidNamespace(pid int) string {
	name, _ := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/pid")
	return name
}

// controlGroup is that of a process in the unified hierarchy, else in systemd's own:
// cgroups(7).
func controlGroup(pid int) (path string) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		_, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		hierarchy, group, ok := strings.Cut(rest, ":")
		switch {
		case !ok:
		case hierarchy == "name=systemd":
			return group
		case hierarchy == "":
			path = group
		}
	}
	return path
}
