package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/handoff"
)

// echo answers each request with its body.
func echo() http.Handler {
	pid := strconv.Itoa(os.Getpid())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Pid", pid)
		_, _ = io.Copy(w, r.Body) // an error is the client's, which counts it
	})
}

// begin starts a process of the service, with its socket.
func (s *service) begin(kind string) (cmd *exec.Cmd, out *bufio.Reader, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	cmd = exec.Command(self, "-serve", kind, "-addr", s.addr(), "-pid-file", s.pidFile())
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	return cmd, bufio.NewReader(pipe), handoff.Export(cmd, handoff.File{Name: "http", Conn: s.ln})
}

// ---- upgraded by handoff -------------------------------------------------------

type handoffServer struct {
	*service
	first *exec.Cmd
}

func serveHandoff(addr, pidFile string) error {
	up, err := handoff.New(handoff.Options{PIDFile: pidFile})
	if err != nil {
		return err
	}
	defer up.Close()
	ln, err := up.Listen("http", "tcp", addr)
	if err != nil {
		return err
	}
	return up.Run(context.Background(), handoff.Serve(&http.Server{Handler: echo()}, ln))
}

func (s *handoffServer) start() (err error) {
	if s.first, _, err = s.begin("handoff"); err != nil {
		return err
	}
	_, err = s.await(0)
	return err
}

func (s *handoffServer) upgrade() error {
	old, err := s.main()
	if err != nil {
		return err
	}
	if err := signalTo(old, syscall.SIGHUP); err != nil {
		return err
	}
	_, err = s.await(old)
	return err
}

func (s *handoffServer) stop() error {
	pid, err := s.main()
	if err != nil {
		return err
	}
	if err := signalTo(pid, syscall.SIGTERM); err != nil {
		return err
	}
	return s.first.Wait() // the first of all generations
}

func (s *handoffServer) main() (pid int, err error) {
	text, err := os.ReadFile(s.pidFile())
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// await waits until another process than old is the main one.
func (s *handoffServer) await(old int) (pid int, err error) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if pid, err = s.main(); err == nil && pid != old {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("no process but %d was the main one within a minute: %w", old, err)
}

func signalTo(pid int, sig syscall.Signal) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Signal(sig)
}

// ---- restarted in the usual way ------------------------------------------------

// shutdownServer starts the new process, with the same socket, waits until it
// accepts, and only then ends the old one: no connection is refused, and none waits.
type shutdownServer struct {
	*service
	now *exec.Cmd
}

// serveShutdown is as the documentation of http.Server.Shutdown has it.
func serveShutdown() error {
	set, err := handoff.Inherit(handoff.InheritOptions{})
	if err != nil {
		return err
	}
	ln, err := set.TCPListener(handoff.ByName("http"))
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: echo()}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	down := make(chan error, 1)
	go func() {
		<-stop
		down <- srv.Shutdown(context.Background())
	}()
	fmt.Println("ready")
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-down
}

func (s *shutdownServer) start() error {
	cmd, out, err := s.begin("shutdown")
	if err != nil {
		return err
	}
	s.now = cmd
	_, err = out.ReadString('\n')
	return err
}

func (s *shutdownServer) upgrade() error {
	old := s.now
	if err := s.start(); err != nil {
		return err
	}
	return end(old)
}

func (s *shutdownServer) stop() error { return end(s.now) }

func end(cmd *exec.Cmd) error {
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return cmd.Wait()
}
