package main

import (
	"fmt"
	"os"
	"path"
	"strings"
)

// unitOf returns the unit of the machine's systemd that a process belongs to; "" if it
// is none's, or a user's.
func unitOf(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil || pid == 0 {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok || strings.Contains(group, "/user@") {
			continue
		}
		// A service may have groups of its own below the unit's.
		for ; group != "/" && group != "." && group != ""; group = path.Dir(group) {
			if strings.HasSuffix(group, ".service") {
				return path.Base(group)
			}
		}
	}
	return ""
}
