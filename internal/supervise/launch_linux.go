package supervise

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/notify"
	"golang.org/x/sys/unix"
)

// launch starts a copy, the next one if there is a main one. What has to be read for that,
// from files that may not answer, is read aside: meanwhile signals are heard.
func (w *worker) launch() {
	h := w.holder
	w.step("start")
	w.launches++
	n, generation, index := w.launches, h.generation, w.index
	wanted := func() bool {
		p := w.machine.phase
		return w.launches == n && (p == phaseStarting || p == phaseUpgrading)
	}
	late := h.after(h.opt.ReadyTimeout, func() {
		if wanted() {
			w.launches++
			w.cause, w.lived = fmt.Errorf("start: the program's file, or an environment file, can't be read within %v", h.opt.ReadyTimeout), 0
			w.handle(eventGiveUp)
		}
	})
	go func() {
		p, err := h.prepare(index, generation)
		f := func() {
			late.Stop()
			if !wanted() {
				go p.discard()
				return
			}
			w.launches++
			w.launchPrepared(p, err)
		}
		select {
		case h.events <- f:
		case <-h.done:
			p.discard()
		}
	}()
}

func (w *worker) launchPrepared(p *prepared, err error) {
	h := w.holder
	var c *process
	if err == nil {
		c, err = h.start(w, p)
	}
	if err != nil {
		w.cause, w.lived = fmt.Errorf("start: %w", err), 0
		h.soon(func() { w.handle(eventGiveUp) })
		return
	}
	if w.main == nil {
		w.main = c
	} else {
		w.next = c
	}
	w.step("ready")
	h.log("started %s", c)
	c.awaitReady(h.opt.ReadyTimeout)
	c.begin()
	c.watchReady()
}

// prepared is what a copy is started with.
type prepared struct {
	path  string
	file  stamp
	env   []string
	inbox *notify.Receiver
}

func (p *prepared) discard() {
	if p != nil {
		p.inbox.Close()
	}
}

// prepare reads what a copy needs. It may take for ever, and knows nothing of the state.
func (h *Holder) prepare(index, generation int) (*prepared, error) {
	path, err := exec.LookPath(h.opt.Args[0])
	if err != nil {
		var ee *exec.Error
		if errors.As(err, &ee) && !errors.Is(err, exec.ErrDot) {
			err = fmt.Errorf("%s: %w", ee.Name, ee.Err)
			if errors.Is(ee.Err, exec.ErrNotFound) {
				err = fmt.Errorf("%w in PATH: %w", err, os.ErrNotExist)
			}
		}
		return nil, err
	}
	env, err := h.environ(index, generation)
	if err != nil {
		return nil, err
	}
	p := &prepared{path: path, env: env}
	p.file, _ = stampOf(path)
	p.inbox, err = notify.ListenPath()
	if err != nil {
		return nil, err
	}
	return p, nil
}

// start starts a process of the program. It returns when the program's file was
// executed. After an error p is used up too.
func (h *Holder) start(w *worker, p *prepared) (c *process, err error) {
	c = &process{holder: h, hearing: h.newRest(), worker: w, generation: h.generation, began: time.Now(), inbox: p.inbox, file: p.file}
	c.inbox.KeepStored = h.manager.notifier != nil
	stderr := os.Stderr
	if !h.opt.DirectStderr {
		var writing *os.File
		if c.stderr, writing, err = newPump(h); err != nil {
			go c.inbox.Close()
			return nil, err
		}
		defer writing.Close()
		stderr = writing
	}
	cmd := &exec.Cmd{
		Path: p.path, Args: h.opt.Args, Env: append(p.env, "NOTIFY_SOCKET="+c.inbox.Address()),
		Stdout: os.Stdout, Stderr: stderr,
		// A group of its own: Ctrl-C in a terminal is the holder's, and what a wrapper
		// leaves behind can be found.
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}
	if err := h.spawn(cmd, h.files); err != nil {
		go c.inbox.Close()
		c.stderr.close()
		return nil, err
	}
	c.pid = cmd.Process.Pid
	c.group = c.pid
	_ = cmd.Process.Release() // it is waited for by reap
	return c, nil
}

// spawn starts cmd with files. The goroutine that calls it is the one that waits for
// children, so that none is lost.
func (h *Holder) spawn(cmd *exec.Cmd, files []handoff.File) error {
	if h.mask != nil {
		// A child has the mask of the thread that forks it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		var mine unix.Sigset_t
		if err := unix.PthreadSigmask(unix.SIG_SETMASK, h.mask, &mine); err != nil {
			return os.NewSyscallError("pthread_sigmask", err)
		}
		defer unix.PthreadSigmask(unix.SIG_SETMASK, &mine, nil)
	}
	return handoff.Export(cmd, files...)
}

// environ is what a copy of a worker gets, but for what Export and the notifications add.
func (h *Holder) environ(index, generation int) ([]string, error) {
	env := os.Environ()
	for _, path := range h.opt.EnvFiles {
		entries, err := readEnvFile(path)
		if err != nil {
			return nil, err
		}
		env = append(env, entries...) // the last one counts
	}
	addrs := h.opt.addrs()
	for _, kind := range h.opt.Compat {
		env = append(env, compatEnv(kind, addrs, generation, index, os.Getpid())...)
	}
	return env, nil
}
