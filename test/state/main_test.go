//go:build linux

package state

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestMain(m *testing.M) {
	if role := os.Getenv("STATE_TEST_ROLE"); role != "" {
		if err := play(role); err != nil {
			fmt.Fprintln(os.Stderr, role+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	proctest.Main(m)
}

// report is what a successor tells each client.
type report struct {
	PID      int
	Version  int
	Size     int64
	Sum      string // SHA-256
	Peak     int    // KiB of memory, at most
	LastWord string
	Err      string
	NoState  bool
}

// play is the life of a process that is not the test's own.
func play(role string) error {
	if role == "limited" {
		return limited()
	}
	up, err := handoff.New(handoff.Options{})
	if err != nil {
		return err
	}
	defer up.Close()
	ln, err := up.Listen("report", "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	r := report{PID: os.Getpid()}
	switch role {
	case "reads":
		err = r.read(up)
	case "asks for another":
		_, err = up.State(context.Background(), "other")
		r.NoState, err = errors.Is(err, handoff.ErrNoState), nil
	case "knows version 1":
		st, serr := up.State(context.Background(), "cache")
		if serr != nil {
			return serr
		}
		if st.Version != 1 {
			err = st.Refuse(errors.New("only version 1 is known"))
			<-up.Draining() // it is told to stop
		}
	}
	if err != nil {
		return err
	}
	words := make(chan string, 1)
	err = up.TakeLast("word", func(st *handoff.NamedState) error {
		text, err := io.ReadAll(st)
		if role == "refuses the last word" {
			return errors.New("this word is too much")
		}
		if role == "dies of the last word" {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		words <- string(text)
		return err
	})
	if err != nil {
		return err
	}
	return up.Run(context.Background(), handoff.Service{Serve: func() error {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return err
			}
			select {
			case r.LastWord = <-words:
			default:
			}
			json.NewEncoder(conn).Encode(r)
			conn.Close()
		}
	}})
}

// read reads the state called cache.
func (r *report) read(up *handoff.Upgrader) error {
	st, err := up.State(context.Background(), "cache")
	if err != nil {
		return err
	}
	defer st.Close()
	sum := sha256.New()
	if n, err := io.Copy(sum, st); err != nil || n != st.Size() {
		return fmt.Errorf("%d bytes of %d: %w", n, st.Size(), err)
	}
	r.Version, r.Size, r.Sum, r.Peak = st.Version, st.Size(), fmt.Sprintf("%x", sum.Sum(nil)), memory("VmHWM")
	return nil
}

// memory returns a line of this process's proc_pid_status(5), in KiB.
func memory(key string) (kib int) {
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			fmt.Sscan(rest, &kib)
		}
	}
	return kib
}

// limited is a first generation that may not write files of more than a MiB.
func limited() error {
	limit := syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	up, ln, err := generation("reads", handoff.Options{})
	if err != nil {
		return err
	}
	defer up.Close()
	if err := up.Provide("cache", 1, func(w io.Writer) error { return fill(w, 2<<20) }); err != nil {
		return err
	}
	uerr := up.Upgrade(context.Background())
	if err := accepts(ln); err != nil {
		return fmt.Errorf("after %v: %w", uerr, err)
	}
	var e *handoff.UpgradeError
	if !errors.As(uerr, &e) || e.Phase != "state" || !errors.Is(e, syscall.EFBIG) {
		return fmt.Errorf("Upgrade: %v, want the phase state and %v", uerr, syscall.EFBIG)
	}
	fmt.Println("rolled back")
	return nil
}

// generation makes this process a generation that is ready, and whose successor
// plays a role.
func generation(role string, opts handoff.Options) (*handoff.Upgrader, net.Listener, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	opts.UpgradeSignals, opts.StopSignals = []os.Signal{}, []os.Signal{}
	opts.Command, opts.Args = self, []string{filepath.Base(self)}
	opts.Env = append(os.Environ(), "STATE_TEST_ROLE="+role, "GORACE=atexit_sleep_ms=0")
	if opts.Probation == 0 {
		opts.Probation = -1
	}
	up, err := handoff.New(opts)
	if err != nil {
		return nil, nil, err
	}
	ln, err := up.Listen("report", "tcp", "127.0.0.1:0")
	if err == nil {
		err = up.Ready()
	}
	if err != nil {
		up.Close()
	}
	return up, ln, err
}

// accepts tells whether this process still accepts at ln.
func accepts(ln net.Listener) error {
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return err
	}
	defer client.Close()
	ln.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Now().Add(20 * time.Second))
	conn, err := ln.Accept()
	if err != nil {
		return err
	}
	return conn.Close()
}

// fill writes so many bytes, in pieces, that are not all alike.
func fill(w io.Writer, size int) error {
	piece := make([]byte, 64<<10)
	for i := 0; size > 0; i++ {
		for j := 0; j < len(piece); j += 512 {
			piece[j] = byte(i + j>>9)
		}
		n := min(size, len(piece))
		if _, err := w.Write(piece[:n]); err != nil {
			return err
		}
		size -= n
	}
	return nil
}
