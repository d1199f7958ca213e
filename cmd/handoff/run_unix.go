//go:build unix

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The real-time signals as programs count them, systemd among them: the C library keeps
// the first two of the kernel's for itself (signal(7)).
const rtMin, rtMax = 34, 64

// parseSignal reads a signal's name, with or without SIG, its number, or a real-time
// signal as systemd spells it: RTMIN+3, RTMAX-1.
func parseSignal(text string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n <= rtMax {
		return syscall.Signal(n), nil
	}
	name := "SIG" + strings.TrimPrefix(strings.ToUpper(text), "SIG")
	if sig := unix.SignalNum(name); sig != 0 {
		return sig, nil
	}
	if sig := realTimeSignal(name); sig != 0 {
		return sig, nil
	}
	return 0, fmt.Errorf("%q is no signal: want a name, such as QUIT or RTMIN+3, or a number from 1 to %d", text, rtMax)
}

// realTimeSignal reads SIGRTMIN, SIGRTMIN+N, SIGRTMAX or SIGRTMAX-N; 0 is for what is
// none.
func realTimeSignal(name string) syscall.Signal {
	base, sign := rtMin, 1
	rest, ok := strings.CutPrefix(name, "SIGRTMIN")
	if !ok {
		base, sign = rtMax, -1
		if rest, ok = strings.CutPrefix(name, "SIGRTMAX"); !ok {
			return 0
		}
	}
	if rest == "" {
		return syscall.Signal(base)
	}
	n, err := strconv.ParseUint(rest[1:], 10, 8)
	if err != nil || rest[:1] != map[int]string{1: "+", -1: "-"}[sign] || int(n) > rtMax-rtMin {
		return 0
	}
	return syscall.Signal(base + sign*int(n))
}

func isTTY(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	is := false
	_ = raw.Control(func(fd uintptr) { is = hasTermios(int(fd)) })
	return is
}
