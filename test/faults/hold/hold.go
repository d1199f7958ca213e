//go:build linux

// Package hold stops a process at a named step until a test lets it go on. A
// process that comes to a step whose file hold.STEP is in the directory that
// [Variable] names writes down its arrival, as the file at.STEP.PID, and waits
// until the test removes hold.STEP.
//
// It imports package syscall alone, and by that runs its init before the library's
// stage, which needs package os: the linker initialises first what depends on
// least. So the stage can be held between fork and exec without a hook in the
// library.
package hold

import "syscall"

// Variable names the directory.
const Variable = "VICTIM_DIR"

func init() {
	if _, stage := syscall.Getenv("HANDOFF_STAGE"); stage {
		At("stage")
	}
}

// At waits while the step is held.
func At(step string) {
	dir, ok := syscall.Getenv(Variable)
	if !ok {
		return
	}
	file := dir + "/hold." + step
	if !exists(file) {
		return
	}
	arrived := dir + "/at." + step + "." + decimal(syscall.Getpid())
	if fd, err := syscall.Open(arrived, syscall.O_CREAT|syscall.O_CLOEXEC, 0o644); err == nil {
		syscall.Close(fd)
	}
	for exists(file) {
		pause := syscall.Timespec{Nsec: 1e6}
		_ = syscall.Nanosleep(&pause, nil)
	}
}

func exists(file string) bool { return syscall.Access(file, 0) == nil }

func decimal(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return decimal(n/10) + string(rune('0'+n%10))
}
