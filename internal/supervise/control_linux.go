package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/control"
	"github.com/handoff-dev/handoff/internal/unixpath"
	"golang.org/x/sys/unix"
)

// controlSocket is the control socket: see package control. While the holder becomes a new
// program there is none.
type controlSocket struct {
	server   *control.Server
	feed     control.Feed
	listener *net.UnixListener
	marker   io.Closer // nil: it can't be found by the pid
	path     string
	file     fileID
}

// controlWait is what answers that are being given have at the end.
const controlWait = 2 * time.Second

// openControl opens the control socket, if there is to be one.
func (h *Holder) openControl() error {
	if h.opt.Control == "" || h.control != nil {
		return nil
	}
	path, err := filepath.Abs(h.opt.Control)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("the directory of the control socket: %w", err)
	}
	if err := control.CheckDirectory(path); err != nil {
		return err
	}
	c := &controlSocket{path: path}
	if c.listener, err = listenControl(path); err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	c.file = fileAt(path)
	if c.marker, err = control.Mark(path); err != nil {
		h.log("the control socket can't be found by this process's pid: %v", err)
	}
	c.server = control.NewServer(controlled{h}, &c.feed, slog.New(lines{h}))
	h.control = c
	go func() {
		if err := c.server.Serve(c.listener, control.Rule{UID: os.Geteuid(), GID: -1}); err != nil {
			h.post(func() { h.log("control socket: %v", err) })
		}
	}()
	return nil
}

// reopenControl is openControl where the holder goes on without.
func (h *Holder) reopenControl() {
	if err := h.openControl(); err != nil {
		h.log("there is no control socket: %v", err)
	}
}

// listenControl takes the place of a socket that nobody listens on.
func listenControl(path string) (*net.UnixListener, error) {
	defer unixpath.Lock(path)()
	ln, err := control.Listen(context.Background(), path, -1)
	if !errors.Is(err, unix.EADDRINUSE) {
		return ln, err
	}
	if rerr := unixpath.RemoveStale("unix", path); rerr != nil {
		return nil, fmt.Errorf("%w (%w)", err, rerr)
	}
	return control.Listen(context.Background(), path, -1)
}

// closeControl removes the control socket at once, and calls closed, in a goroutine of its
// own, when the answers that were being given are given. They may need the goroutine of
// Run.
func (h *Holder) closeControl(closed func()) {
	c := h.control
	h.control = nil
	if c == nil {
		go closed()
		return
	}
	c.feed.Close()
	// While it listens nobody takes it for a stale one: the file is removed first.
	unlock := unixpath.Lock(c.path)
	if fileAt(c.path) == c.file {
		_ = os.Remove(c.path)
	}
	unlock()
	c.listener.Close()
	if c.marker != nil {
		c.marker.Close()
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), controlWait)
		defer cancel()
		c.server.Shutdown(ctx)
		closed()
	}()
}

// endControl is at the end of Run.
func (h *Holder) endControl() {
	if h.control == nil {
		return
	}
	closed := make(chan struct{})
	h.closeControl(func() { close(closed) })
	for {
		select {
		case f := <-h.events:
			f()
		case <-closed:
			return
		}
	}
}

// becomeNewWithout becomes the new program when nobody is being answered any more.
func (h *Holder) becomeNewWithout() {
	h.closing = true
	h.closeControl(func() {
		h.post(func() {
			h.closing = false
			h.checked, h.reexec = true, true
			if h.steady() && h.roll == nil && !h.rollAgain && !h.stopping {
				h.checked, h.reexec = false, false
				if err := h.exec(); err != nil {
					h.log("the holder's own upgrade has failed, and nothing has changed: %v", err)
				}
			}
			if !h.stopping {
				h.reopenControl()
			}
		})
	})
}

// quietTime is after which time without a request what answers needed is given back.
const quietTime = time.Second

// answered is when there was a request.
func (h *Holder) answered() {
	h.post(func() {
		if h.quiet != nil {
			h.quiet.Stop()
		}
		h.quiet = h.after(quietTime, h.settleMemory)
	})
}

// tell gives an event to those who follow.
func (h *Holder) tell(e handoff.Event) {
	if h.control == nil {
		return
	}
	e.Schema, e.Time, e.PID = handoff.StatusSchema, time.Now(), os.Getpid()
	e.Generation, _ = h.serves()
	h.control.feed.Publish(e)
}

// controlled answers the requests on the control socket.
type controlled struct{ h *Holder }

func (c controlled) Status() any {
	reply := make(chan handoff.ServiceStatus, 1)
	defer c.h.answered()
	c.h.post(func() { reply <- c.h.service() })
	select {
	case s := <-reply:
		return s
	case <-c.h.done:
		return c.Fault("stopping", "the holder has ended")
	}
}

func (c controlled) Fault(code, message string) any {
	c.h.answered()
	return handoff.Fault{Schema: handoff.StatusSchema, Code: code, Message: message}
}

func (c controlled) Stop() (int, any) {
	c.h.post(func() {
		if !c.h.stopping {
			c.h.log("told to stop by the control socket")
			c.h.told(unix.SIGTERM)
		}
	})
	return http.StatusAccepted, struct {
		Schema   int  `json:"schema"`
		Stopping bool `json:"stopping"`
	}{handoff.StatusSchema, true}
}

// errClientTimeout is the end of an upgrade by the client's own wish.
var errClientTimeout = errors.New("was not done within the time that the client has given to the upgrade")

// errStopping is that of one that the holder's end has ended.
var errStopping = errors.New("the holder is stopping")

type outcome struct {
	status int
	answer handoff.UpgradeAnswer
}

func (c controlled) Upgrade(r control.UpgradeRequest) (int, any) {
	h := c.h
	defer h.answered()
	reply := make(chan outcome, 1)
	h.post(func() { h.upgradeFor(reply, r.Check) })
	var late <-chan time.Time
	if r.TimeoutMS > 0 {
		timer := time.NewTimer(time.Duration(r.TimeoutMS) * time.Millisecond)
		defer timer.Stop()
		late = timer.C
	}
	for {
		select {
		case o := <-reply:
			return o.status, o.answer
		case <-late:
			h.post(func() { h.abort(reply) })
		case <-h.done:
			return http.StatusConflict, handoff.UpgradeAnswer{Schema: handoff.StatusSchema, Type: "result", Outcome: "refused", Code: "stopping", Message: errStopping.Error()}
		}
	}
}

// upgradeFor upgrades, and answers when that is over.
func (h *Holder) upgradeFor(reply chan outcome, check bool) {
	refuse := func(code, message string) {
		a := h.answer("refused")
		a.Code, a.Message = code, message
		reply <- outcome{http.StatusConflict, a}
	}
	switch {
	case check:
		refuse("no_preflight", "a holder has no check command for its program")
	case h.stopping:
		refuse("stopping", errStopping.Error())
	case h.roll != nil || h.rollAgain:
		refuse("in_progress", "an upgrade is under way")
	default:
		h.log("told to upgrade by the control socket")
		h.waiting = reply
		h.upgrade()
	}
}

func (h *Holder) answer(how string) handoff.UpgradeAnswer {
	a := handoff.UpgradeAnswer{Schema: handoff.StatusSchema, Type: "result", Outcome: how}
	a.Generation, a.PID = h.serves()
	return a
}

// answerWaiting tells how the upgrade went to who has asked for it.
func (h *Holder) answerWaiting(rec *handoff.UpgradeRecord, cause, message error) {
	reply := h.waiting
	if h.waiting = nil; reply == nil {
		return
	}
	a := h.answer("committed")
	a.Upgrade = rec
	if cause == nil {
		reply <- outcome{http.StatusOK, a}
		return
	}
	a.Outcome, a.Message = "failed", message.Error()
	if rec != nil {
		a.Output = rec.Output
	}
	switch {
	case errors.Is(cause, errClientTimeout):
		a.Outcome = "timed_out"
		reply <- outcome{http.StatusGatewayTimeout, a}
		return
	case errors.Is(cause, errStopping):
		a.Code = "stopping"
	}
	reply <- outcome{http.StatusInternalServerError, a}
}

// abort gives up the upgrade that reply waits for. One that is being committed is not.
func (h *Holder) abort(reply chan outcome) {
	if h.waiting != reply || h.roll == nil || h.roll.next < 0 || h.roll.next >= len(h.workers) {
		return
	}
	w := h.workers[h.roll.next]
	w.cause = errClientTimeout
	if c := w.next; c != nil {
		end := c.report()
		end.Cause = errClientTimeout
		w.cause = end
	}
	w.handle(eventAbort)
}

// lines has the server's warnings logged as the holder's.
type lines struct{ h *Holder }

func (l lines) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (l lines) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l lines) WithGroup(string) slog.Handler                    { return l }

func (l lines) Handle(_ context.Context, r slog.Record) error {
	var text strings.Builder
	text.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&text, ": %v", a.Value)
		return true
	})
	// The one who logs may be in the way of the goroutine of Run.
	go l.h.post(func() { l.h.log("%s", text.String()) })
	return nil
}
