//go:build linux

package state

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func newGeneration(t *testing.T, role string, opts handoff.Options) (*handoff.Upgrader, net.Listener) {
	t.Helper()
	up, ln, err := generation(role, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { up.Close() })
	return up, ln
}

// hear returns what the successor has to tell, and ends it.
func hear(t *testing.T, up *handoff.Upgrader, ln net.Listener) (r report) {
	t.Helper()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(proctest.Deadline(t))
	if err := json.NewDecoder(conn).Decode(&r); err != nil {
		t.Fatal(err)
	}
	up.Close() // the successor waits for the end of its elders
	syscall.Kill(r.PID, syscall.SIGTERM)
	proctest.Until(t, "the end of the successor", func() error {
		if syscall.Kill(r.PID, 0) == nil {
			return fmt.Errorf("process %d is still there", r.PID)
		}
		return nil
	})
	return r
}

// mustFail fails the test unless the upgrade fails for its state, and this process
// still accepts.
func mustFail(t *testing.T, up *handoff.Upgrader, ln net.Listener) *handoff.UpgradeError {
	t.Helper()
	err := up.Upgrade(t.Context())
	var e *handoff.UpgradeError
	if !errors.As(err, &e) || e.Phase != "state" {
		t.Fatalf("Upgrade: %v, want one that fails for its state", err)
	}
	if err := accepts(ln); err != nil {
		t.Errorf("after the failure: %v", err)
	}
	return e
}

func handOver(t *testing.T, size int) {
	up, ln := newGeneration(t, "reads", handoff.Options{})
	sum := sha256.New()
	before, peak := 0, 0
	err := up.Provide("cache", 42, func(w io.Writer) error {
		// It doesn't keep the service from accepting.
		if err := accepts(ln); err != nil {
			return err
		}
		os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // proc_pid_clear_refs(5): forget the peak
		before = memory("VmRSS")
		err := fill(w, size)
		peak = memory("VmHWM")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := fill(sum, size); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := up.Upgrade(t.Context()); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	r := hear(t, up, ln)
	if r.Version != 42 || r.Size != int64(size) || r.Sum != fmt.Sprintf("%x", sum.Sum(nil)) {
		t.Errorf("%d bytes of version %d arrived, with the sum %s", r.Size, r.Version, r.Sum)
	}
	t.Logf("%d MiB in %v; resident: %d KiB before and %d KiB at most in the old process, %d KiB at most in the new one", size>>20, took, before, peak, r.Peak)
	if grown := peak - before; grown > 16<<10 || r.Peak > before+48<<10 {
		t.Errorf("the old process has grown by %d KiB, the new one has had %d KiB", grown, r.Peak)
	}
}

func TestStateArrivesAndIsInNobodysOwnMemory(t *testing.T) { handOver(t, 64<<20) }

func TestAGibibyteOfStateArrives(t *testing.T) {
	proctest.RequireLong(t)
	handOver(t, 1<<30+5)
}

func TestEmptyStateArrives(t *testing.T) { handOver(t, 0) }

func TestStateThatIsNotThereIsNoFailure(t *testing.T) {
	up, ln := newGeneration(t, "asks for another", handoff.Options{})
	if _, err := up.State(t.Context(), "cache"); !errors.Is(err, handoff.ErrNoState) {
		t.Errorf("the first generation's: %v, want %v", err, handoff.ErrNoState)
	}
	if err := up.Provide("cache", 1, func(io.Writer) error { t.Error("written though nobody asked"); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := up.Upgrade(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !hear(t, up, ln).NoState {
		t.Errorf("the successor was not told %v", handoff.ErrNoState)
	}
}

func TestAnErrorOfTheWriterRollsBack(t *testing.T) {
	cause := errors.New("the cache is locked")
	for name, write := range map[string]func(io.Writer) error{
		"AtOnce": func(io.Writer) error { return cause },
		"InTheMiddle": func(w io.Writer) error {
			fill(w, 1<<20)
			return cause
		},
		"APanic": func(io.Writer) error { panic(cause) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up, ln := newGeneration(t, "reads", handoff.Options{})
			if err := up.Provide("cache", 1, write); err != nil {
				t.Fatal(err)
			}
			for range 2 { // and the next upgrade fails no worse
				if e := mustFail(t, up, ln); !strings.Contains(e.Error(), `state "cache": `) || !strings.Contains(e.Error(), cause.Error()) {
					t.Errorf("the cause is %v", e)
				}
			}
		})
	}
}

func TestStateOverTheFileSizeLimitRollsBack(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := proctest.Command(self)
	cmd.Env = append(os.Environ(), "STATE_TEST_ROLE=limited", "GORACE=atexit_sleep_ms=0")
	p := proctest.Start(t, cmd)
	if err := p.Wait(); err != nil || !strings.Contains(p.Output(), "rolled back") {
		t.Errorf("%v: %s", err, p.Output())
	}
}

func TestAWriterThatTakesTooLongRollsBack(t *testing.T) {
	t.Parallel()
	up, ln := newGeneration(t, "reads", handoff.Options{ReadyTimeout: time.Second})
	ended := make(chan error, 1)
	if err := up.Provide("cache", 1, func(w io.Writer) (err error) {
		for err == nil {
			time.Sleep(time.Millisecond)
			err = fill(w, 1<<18)
		}
		ended <- err
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := up.Upgrade(t.Context()); !errors.Is(err, handoff.ErrTimeout) {
		t.Errorf("Upgrade: %v, want %v", err, handoff.ErrTimeout)
	}
	select {
	case <-ended:
	case <-t.Context().Done():
		t.Error("the writer goes on")
	}
	if err := accepts(ln); err != nil {
		t.Error(err)
	}
}

func TestASuccessorThatDoesNotKnowTheVersionRollsBack(t *testing.T) {
	t.Parallel()
	up, ln := newGeneration(t, "knows version 1", handoff.Options{})
	if err := up.Provide("cache", 2, func(w io.Writer) error { return fill(w, 1000) }); err != nil {
		t.Fatal(err)
	}
	if e := mustFail(t, up, ln); !errors.Is(e, handoff.ErrStateRefused) || !strings.Contains(e.Error(), "only version 1 is known") {
		t.Errorf("the cause is %v", e)
	}
}

func TestTheLastWordIsHadBeforeTheHandOverIsFinal(t *testing.T) {
	t.Parallel()
	up, ln := newGeneration(t, "takes the last word", handoff.Options{})
	var undone atomic.Bool
	if err := up.ProvideLast("word", 1, func(w io.Writer) error {
		if _, err := io.WriteString(w, "amen"); err != nil {
			return err
		}
		select {
		case <-up.Draining():
			return errors.New("it is over already")
		default:
			return nil
		}
	}, func() { undone.Store(true) }); err != nil {
		t.Fatal(err)
	}
	if err := up.Upgrade(t.Context()); err != nil {
		t.Fatal(err)
	}
	if word := hear(t, up, ln).LastWord; word != "amen" {
		t.Errorf("the last word was %q", word)
	}
	if undone.Load() {
		t.Error("it was undone")
	}
}

func TestALastWordThatFailsIsUndoneOnce(t *testing.T) {
	t.Parallel()
	cause := errors.New("speechless")
	speak := func(w io.Writer) error { _, err := io.WriteString(w, "amen"); return err }
	for _, c := range []struct {
		role  string
		write func(io.Writer) error
		want  error
		text  string
	}{
		{"takes the last word", func(io.Writer) error { return cause }, cause, `state "word": speechless`},
		{"takes the last word", func(w io.Writer) error { time.Sleep(2 * time.Second); return speak(w) }, handoff.ErrTimeout, "the last word took longer"},
		{"refuses the last word", speak, handoff.ErrStateRefused, "this word is too much"},
		{"dies of the last word", speak, nil, ""},
	} {
		t.Run(c.role, func(t *testing.T) {
			t.Parallel()
			up, ln := newGeneration(t, c.role, handoff.Options{ReadyTimeout: time.Second})
			halted, undone := make(chan bool, 10), make(chan bool, 10)
			if err := up.ProvideLast("word", 1, func(w io.Writer) error {
				defer func() { halted <- true }()
				return c.write(w)
			}, func() {
				if len(halted) == 0 {
					t.Error("undone before it was written")
				}
				undone <- true
			}); err != nil {
				t.Fatal(err)
			}
			if c.want == nil {
				if err := up.Upgrade(t.Context()); err == nil {
					t.Error("the upgrade succeeds")
				}
			} else if e := mustFail(t, up, ln); !errors.Is(e, c.want) || !strings.Contains(e.Error(), c.text) {
				t.Errorf("the cause is %v", e)
			}
			select {
			case <-undone:
			case <-time.After(20 * time.Second):
				t.Fatal("it was not undone")
			}
			if err := accepts(ln); err != nil {
				t.Error(err)
			}
			up.Close()
			if len(undone) > 0 || len(halted) != 1 {
				t.Errorf("written %d times, undone %d times", len(halted), 1+len(undone))
			}
		})
	}
}

func TestALastWordThatNobodyTakesIsNoFailure(t *testing.T) {
	t.Parallel()
	up, ln := newGeneration(t, "takes another", handoff.Options{})
	if err := up.ProvideLast("unheard", 1, func(w io.Writer) error { return fill(w, 1000) }, nil); err != nil {
		t.Fatal(err)
	}
	if err := up.Upgrade(t.Context()); err != nil {
		t.Fatal(err)
	}
	hear(t, up, ln)
}
