package handoff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/link"
	"github.com/handoff-dev/handoff/internal/control"
	"github.com/handoff-dev/handoff/internal/unixpath"
)

// controlSocket is how a service is seen and controlled from outside. The socket is
// handed on with the hello, and not with the program's own: no other program finds
// it among its descriptors. The main generation alone accepts on it.
type controlSocket struct {
	path  string // "": there is none
	group int    // -1: none
	feed  control.Feed

	server    *control.Server // nil without a path
	listener  *net.UnixListener
	origin    origin
	alone     bool      // this process has bound it, and passed it to no other
	abandoned *origin   // the predecessor's, if it has another path
	marker    io.Closer // while this generation serves it
	inherited *os.File  // until it was looked at
}

// controlWait is what answers that are being given have when this process ends.
const controlWait = 2 * time.Second

// readControl checks the options about the control socket.
func (u *Upgrader) readControl() error {
	c := &u.control
	c.group = -1
	if u.opts.Control == "" {
		return nil
	}
	if !control.Supported {
		return fmt.Errorf("handoff: Options.Control: %w", errors.ErrUnsupported)
	}
	c.path = u.opts.Control
	if !filepath.IsAbs(c.path) {
		c.path = filepath.Join(started.dir.Path, c.path)
	}
	if g := u.opts.ControlGroup; g != "" {
		var err error
		if c.group, err = groupID(g); err != nil {
			return fmt.Errorf("%w: Options.ControlGroup: %w", ErrBadOption, err)
		}
	}
	c.server = control.NewServer(controlled{u}, &c.feed, u.log)
	return nil
}

func groupID(name string) (int, error) {
	if id, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(id), nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return -1, err
	}
	return strconv.Atoi(g.Gid)
}

// meetControl takes the control socket out of what came with the predecessor's
// hello, and returns the rest.
func (u *Upgrader) meetControl(hello link.Hello, files []*os.File) []*os.File {
	if hello.Control == nil || len(files) != len(hello.Inboxes)+1 {
		return files
	}
	c := &u.control
	c.inherited, c.origin = files[len(files)-1], *hello.Control
	if secureMode() {
		c.origin.Path = ""
	}
	return files[:len(files)-1]
}

// openControl has the control socket listen. Nobody is answered before this is the main
// generation.
func (u *Upgrader) openControl() error {
	c := &u.control
	if err := u.readControl(); err != nil {
		return err
	}
	inherited := c.inherited
	c.inherited = nil
	if inherited != nil {
		defer inherited.Close()
		if c.path != "" && c.origin.Address == c.path && reachable(c.origin) {
			if ln, err := net.FileListener(inherited); err == nil {
				if c.listener, _ = ln.(*net.UnixListener); c.listener != nil {
					c.listener.SetUnlinkOnClose(false)
					return nil
				}
				ln.Close()
			}
		}
		left := c.origin
		c.origin, c.abandoned = origin{}, &left
	}
	if c.path == "" {
		return nil
	}
	if err := control.CheckDirectory(c.path); err != nil {
		return fmt.Errorf("handoff: Options.Control: %w", err)
	}
	s := &shared{}
	s.origin.Ours, s.origin.Address = true, c.path
	bind := func(ctx context.Context, _, path string) (*net.UnixListener, error) {
		return control.Listen(ctx, path, c.group)
	}
	ln, err := bindUnix(context.Background(), s, "unix", c.path, bind)
	if err != nil {
		return fmt.Errorf("handoff: Options.Control: %w", err)
	}
	c.listener, c.origin, c.alone = ln, s.origin, true
	return nil
}

// exportControl returns a duplicate of the socket for the successor, nil without one.
func (u *Upgrader) exportControl() (*os.File, *origin) {
	c := &u.control
	if c.listener == nil {
		return nil, nil
	}
	d, err := dupFile(File{Name: "control", Conn: c.listener})
	if err != nil {
		u.log.Warn("handing on the control socket", "error", err)
		return nil, nil
	}
	c.alone = false
	o := c.origin
	return d, &o
}

// serveControl is when this becomes the main generation.
func (u *Upgrader) serveControl() {
	c := &u.control
	if c.abandoned != nil {
		u.unlink(*c.abandoned)
		c.abandoned = nil
	}
	if c.listener == nil {
		return
	}
	// Who connects is told by the kernel that it is this process that serves.
	if err := control.ListenAgain(c.listener); err != nil {
		u.log.Warn("the control socket still names an older generation as its process", "error", err)
	}
	var err error
	if c.marker, err = control.Mark(c.path); err != nil {
		u.log.Warn("the control socket can't be found by this process's pid", "error", err)
	}
	ln, rule := c.listener, control.Rule{UID: os.Geteuid(), GID: c.group}
	go func() {
		if err := c.server.Serve(ln, rule); err != nil {
			u.log.Error("the control socket", "error", err)
		}
	}()
	u.tell(Event{Type: "serving"})
}

// leaveControl is when the successor is the main generation: it serves the socket.
func (u *Upgrader) leaveControl() {
	c := &u.control
	if c.listener == nil {
		return
	}
	u.tell(Event{Type: "handed_over"})
	c.feed.Close()
	c.listener.Close()
	c.listener = nil
	c.server.Leave()
	c.unmark()
}

func (c *controlSocket) unmark() {
	if c.marker != nil {
		c.marker.Close()
		c.marker = nil
	}
}

// endControl is the end of this process; last, of the service. What is being answered
// is answered first: the outcome of an upgrade, most often.
func (u *Upgrader) endControl(last bool) {
	c := &u.control
	if c.inherited != nil {
		c.inherited.Close()
	}
	if c.server == nil {
		return
	}
	c.feed.Close()
	if c.listener != nil {
		// While it listens nobody takes it for a stale one: the file is removed first.
		if (last || c.alone) && c.origin.Path != "" {
			unlock := unixpath.Lock(c.origin.Path)
			u.unlink(c.origin)
			unlock()
		}
		c.listener.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), controlWait)
	defer cancel()
	c.server.Shutdown(ctx)
	c.unmark()
}

// HandleControl adds a handler to the control socket, under a pattern of
// [http.ServeMux]: "GET /metrics", for example, see package metrics. Paths that begin
// with /v1/ are the library's. It panics as [http.ServeMux.Handle] does. Without
// Options.Control it does nothing.
func (u *Upgrader) HandleControl(pattern string, handler http.Handler) {
	if u.control.server != nil {
		u.control.server.Handle(pattern, handler)
	}
}

// tell gives an event to those who follow.
func (u *Upgrader) tell(e Event) {
	e.Schema, e.Time, e.Generation, e.PID = StatusSchema, time.Now(), u.generation, os.Getpid()
	if u.successor != nil {
		e.Successor = u.successor.pid
	}
	u.control.feed.Publish(e)
}

// controlled answers the requests on the control socket.
type controlled struct{ u *Upgrader }

func (c controlled) Status() any { return c.u.Status() }

func (c controlled) Fault(code, message string) any {
	return Fault{Schema: StatusSchema, Code: code, Message: message}
}

func (c controlled) Stop() (int, any) {
	c.u.log.Info("told to stop by the control socket")
	c.u.Stop()
	return http.StatusAccepted, struct {
		Schema   int  `json:"schema"`
		Stopping bool `json:"stopping"`
	}{StatusSchema, true}
}

// errClientTimeout is the end of an upgrade by the client's own wish.
var errClientTimeout = errors.New("the time that the client has given to the upgrade is over")

func (c controlled) Upgrade(r control.UpgradeRequest) (int, any) {
	ctx := context.Background()
	if r.TimeoutMS > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, time.Duration(r.TimeoutMS)*time.Millisecond, errClientTimeout)
		defer cancel()
	}
	var err error
	if r.Check {
		err = c.u.Preflight(ctx)
	} else {
		c.u.log.Info("told to upgrade by the control socket")
		err = c.u.Upgrade(ctx)
	}
	return c.answer(r, err)
}

// codes are the words for the states in which there can be no upgrade.
var codes = []struct {
	err  error
	code string
}{
	{ErrNotReady, "not_ready"},
	{ErrUpgradeInProgress, "in_progress"},
	{ErrHandedOver, "handed_over"},
	{ErrStopping, "stopping"},
	{ErrNoPreflight, "no_preflight"},
	{ErrUnsupported, "unsupported"},
	{ErrWouldEndService, "would_end_service"},
}

func (c controlled) answer(r control.UpgradeRequest, err error) (int, any) {
	a := UpgradeAnswer{Schema: StatusSchema, Type: "result", Generation: c.u.generation, PID: os.Getpid()}
	if !r.Check {
		a.Upgrade = c.u.history.last()
	}
	var failed *UpgradeError
	errors.As(err, &failed)
	switch {
	case err == nil && r.Check:
		a.Outcome = "checked"
		return http.StatusOK, a
	case err == nil:
		a.Outcome = "committed"
		if a.Upgrade != nil {
			a.Generation, a.PID = a.Upgrade.To, a.Upgrade.PID
		}
		return http.StatusOK, a
	}
	a.Outcome, a.Message = "failed", err.Error()
	if failed != nil {
		a.Output = failed.Output
	} else {
		a.Outcome, a.Upgrade = "refused", nil
	}
	for _, known := range codes {
		if errors.Is(err, known.err) {
			a.Code = known.code
		}
	}
	switch {
	case errors.Is(err, errClientTimeout):
		a.Outcome = "timed_out"
		return http.StatusGatewayTimeout, a
	case a.Outcome == "refused":
		return http.StatusConflict, a
	}
	return http.StatusInternalServerError, a
}

// abandonNew is when New fails.
func (u *Upgrader) abandonNew() {
	if u.control.inherited != nil {
		u.control.inherited.Close()
	}
	if p := u.family.predecessor; p != nil {
		p.conn.Close()
	}
	u.closeOutlets()
	u.inherited.Close()
	u.manager.notifier.Close()
}
