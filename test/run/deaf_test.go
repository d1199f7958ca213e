//go:build linux

package run

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// fullPipe is one into which nobody can write any more.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	w.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	for _, err = w.Write(make([]byte, 4096)); err == nil; {
		_, err = w.Write(make([]byte, 4096))
	}
	return w
}

func TestAHolderWhoseLogNobodyReadsHearsSignalsAndStartsACrashedProgramAgain(t *testing.T) {
	t.Parallel()
	cmd, addr, file := ours(t, "", "--direct-stderr", "--backoff", "200ms", "--stop-timeout", "3s")
	cmd.Stderr = fullPipe(t)
	h := start(t, cmd, addr)
	h.mode = file
	h.answers("/pid", "")
	first := h.pid()
	next := func(what string, old int) (pid int) {
		t.Helper()
		h.Until(what, func() error {
			text, err := h.ask("/pid")
			if err != nil {
				return err
			}
			if _, err = fmt.Sscan(text, &pid); err == nil && pid == old {
				err = fmt.Errorf("process %d serves", pid)
			}
			return err
		})
		return pid
	}
	h.Signal(syscall.SIGHUP)
	second := next("a swap", first)
	h.Until("the old copy's end", func() error {
		if !errors.Is(syscall.Kill(first, 0), syscall.ESRCH) {
			return errors.New("it is there")
		}
		return nil
	})
	if err := syscall.Kill(second, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	next("a start after a crash", second)
	h.Signal(syscall.SIGTERM)
	h.Wait()
}

func TestAnEnvironmentFileThatDoesNotAnswerKeepsNoSignalFromBeingHeard(t *testing.T) {
	t.Parallel()
	env := filepath.Join(t.TempDir(), "env")
	write(t, env, "A=1\n")
	h := holdOurs(t, "", "--env-file", env, "--ready-timeout", "2s")
	if err := os.Remove(env); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(env, 0o600); err != nil {
		t.Fatal(err)
	}
	h.failingUpgrade()
	h.saying("can't be read within 2s")
	h.Signal(syscall.SIGHUP) // which waits
	h.end(0)
}

func TestTheReadinessOfASenderThatHasEndedCounts(t *testing.T) {
	t.Parallel()
	socat := proctest.RequireTool(t, "socat")
	for range 10 {
		h := hold(t, []string{"--ready", "notify", "--ready-timeout", "20s"}, "sh", "-c",
			`printf READY=1 | `+socat+` - UNIX-SENDTO:"$NOTIFY_SOCKET"; exec sleep 1000`)
		h.end(128 + int(syscall.SIGTERM))
	}
}

func TestAProgramInAnotherNetworkNamespaceIsReady(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can make a network namespace")
	}
	h := hold(t, []string{"--ready", "notify", "--ready-timeout", "20s"}, proctest.RequireTool(t, "unshare"), "-n", "sh", "-c",
		proctest.RequireTool(t, "systemd-notify")+" --ready; exec sleep 1000")
	h.end(128 + int(syscall.SIGTERM))
	if left := h.Output(); strings.Contains(left, "ignored") {
		t.Error(left)
	}
}

// An init ends with the process that it has started.
func TestUnderAnInitAnUpgradeIsRefusedWithWhatToDo(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can make a pid namespace")
	}
	program := proctest.Build(t, proctest.Program{Package: "github.com/handoff-dev/handoff/examples/graceful"})
	for name, words := range map[string][]string{
		"tini":      {"tini", "--", program},
		"dumb-init": {"dumb-init", program},
		"catatonit": {"catatonit", "--", program},
		"a shell":   {"tini", "--", "sh", "-c", program + ` -http "$1"; exit $?`, "sh"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proctest.RequireTool(t, words[0])
			addr := fmt.Sprintf("127.0.0.1:%d", proctest.FreePort(t))
			args := append([]string{"--pid", "--fork", "--mount-proc", "--kill-child"}, words...)
			if name == "a shell" {
				args = append(args, addr)
			} else {
				args = append(args, "-http", addr)
			}
			h := start(t, proctest.Command(proctest.RequireTool(t, "unshare"), args...), addr)
			h.answers("/", "")
			service := 0
			for _, pid := range descendants(h.Pid()) {
				if exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); exe == program {
					service = pid
				}
			}
			if service == 0 {
				t.Fatal("the service is not found")
			}
			if err := syscall.Kill(service, syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			h.saying("would end the service")
			h.saying("handoff run")
			h.answers("/", "")
			if err := syscall.Kill(service, syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			h.Wait()
		})
	}
}

// descendants are the processes below one.
func descendants(pid int) (all []int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for word := range strings.FieldsSeq(string(text)) {
		var child int
		fmt.Sscan(word, &child)
		all = append(append(all, child), descendants(child)...)
	}
	return all
}
