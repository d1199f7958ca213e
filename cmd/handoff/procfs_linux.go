package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/handoff-dev/handoff/internal/systemctl"
)

// catches tells whether a process has a handler for a signal (proc_pid_status(5),
// SigCgt).
func catches(pid int, sig unix.Signal) (bool, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false, fmt.Errorf("process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(text)) {
		if mask, ok := strings.CutPrefix(line, "SigCgt:"); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return bits&(1<<(sig-1)) != 0, err
		}
	}
	return false, nil
}

// listeners returns the listening sockets of a process, by inode: those of TCP and of
// unix sockets in its network namespace.
func listeners(pid int) (map[uint64]bool, error) {
	all := make(map[uint64]bool)
	for _, table := range []struct {
		name         string
		state, inode int
		listening    string
	}{{"tcp", 3, 9, "0A"}, {"tcp6", 3, 9, "0A"}, {"unix", 5, 6, "01"}} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table.name))
		switch {
		case errors.Is(err, os.ErrNotExist):
			continue // no IPv6
		case err != nil:
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) <= table.inode || f[table.state] != table.listening || table.name == "unix" && f[3] != "00010000" {
				continue
			}
			if inode, err := strconv.ParseUint(f[table.inode], 10, 64); err == nil {
				all[inode] = true
			}
		}
	}
	own := make(map[uint64]bool)
	err := eachSocket(pid, func(inode uint64) {
		if all[inode] {
			own[inode] = true
		}
	})
	return own, err
}

// listenersAmong counts those of sockets that a process has.
func listenersAmong(pid int, sockets map[uint64]bool) (n int, err error) {
	err = eachSocket(pid, func(inode uint64) {
		if sockets[inode] {
			n++
		}
	})
	return n, err
}

// eachSocket calls do with each socket of a process. The error is [fs.ErrPermission] if
// its descriptors can be counted, but not looked at.
func eachSocket(pid int, do func(inode uint64)) error {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if errors.Is(err, fs.ErrPermission) {
			return err
		}
		number, ok := strings.CutPrefix(target, "socket:[")
		if !ok {
			continue
		}
		if inode, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64); err == nil {
			do(inode)
		}
	}
	return nil
}

// statOf returns the state of a process and its parent.
func statOf(pid int) (state string, parent int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0
	}
	// The name, which may hold anything, ends with the last parenthesis.
	_, _ = fmt.Sscan(string(text[bytes.LastIndexByte(text, ')')+1:]), &state, &parent)
	return state, parent
}

func parentOf(pid int) int {
	_, parent := statOf(pid)
	return parent
}

func isZombie(pid int) bool {
	state, _ := statOf(pid)
	return state == "Z" || state == ""
}

// childrenOf returns the children of all threads (proc_tid_children(5)).
func childrenOf(pid int) (all []int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, f := range files {
		text, _ := os.ReadFile(f)
		for word := range strings.FieldsSeq(string(text)) {
			if p, err := strconv.Atoi(word); err == nil {
				all = append(all, p)
			}
		}
	}
	return all
}

// show asks systemd for the main process and the status text.
func (w *watched) show(ctx context.Context) (main int, said string, err error) {
	p, err := systemctl.Show(ctx, w.run, w.unit, "MainPID", "StatusText")
	if err != nil {
		return 0, "", err
	}
	main, err = strconv.Atoi(p.Get("MainPID"))
	return main, p.Get("StatusText"), err
}

// failureIn finds in a status of package handoff why the last upgrade failed.
func failureIn(said string) (cause string, ok bool) {
	text, cause, ok := strings.Cut(said, "; handoff: the upgrade failed")
	if !ok || !strings.HasPrefix(text, "Serving, generation ") {
		return "", false
	}
	return "the upgrade failed" + cause, true
}
