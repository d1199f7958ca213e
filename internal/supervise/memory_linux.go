package supervise

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// forgetText lets go of the pages of this process's own executable that were needed to
// begin, and are not any more; most of what the process has in memory are such. They are
// never written to, so that those that are needed after all come back from the file.
func forgetText() {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(maps)) {
		var from, to uintptr
		var mode string
		if !strings.HasSuffix(strings.TrimRight(line, "\n"), " "+self) {
			continue
		}
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || mode[1] == 'w' || mode[3] != 'p' {
			continue
		}
		// Advice: where it is not taken, nothing is lost.
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
	}
}
