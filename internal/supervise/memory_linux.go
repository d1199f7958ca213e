package supervise

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// forgetText lets go of the pages of this process's own executable that were needed to
// begin, and are not any more; most of what the process has in memory are such. Those that
// are never written to come back from the file when they are needed after all. Of the
// variables the kernel is asked to take away what has not changed, such as the fonts of
// another subcommand.
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
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || mode[3] != 'p' {
			continue
		}
		advice := unix.MADV_DONTNEED
		if mode[1] == 'w' {
			advice = unix.MADV_PAGEOUT // since Linux 5.4; keeps what has changed
		}
		// Advice: where it is not taken, nothing is lost.
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, uintptr(advice))
	}
}
