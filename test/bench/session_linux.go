package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// upgradeLimit is how long an upgrade may take until the old process is gone. Then
// it is killed, and counts as hung.
const upgradeLimit = 4 * time.Second

// idleLimit is the same where there is no load: for overseer, which waits for 2 s
// where it has connections.
const idleLimit = 2500 * time.Millisecond

// open starts a server and waits until it answers.
func (b *bench) open(p *peer, sp spec) (*server, error) {
	dir, err := os.MkdirTemp(b.tmp, strings.ReplaceAll(p.name, " ", "-")+"-")
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	if sp.listeners == 0 {
		sp.listeners = 1
	}
	s := &server{group: newGroup(dir), spec: &sp, peer: p, bins: b.bins, addr: addr}
	if err = p.start(s); err == nil {
		s.first = s.current
		_, err = s.ask(10 * time.Second)
	}
	if err == nil && sp.heapMiB > 0 {
		_, err = s.call("POST", fmt.Sprint("/heap?mib=", sp.heapMiB))
	}
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", p.name, err, s.tail())
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *server) close() error {
	err := s.group.end()
	if s.backend != nil {
		err = errors.Join(err, s.backend.end())
	}
	for _, f := range s.held {
		f.Close()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// ready returns the pid of the process that is to be upgraded.
func (s *server) ready() (pid int, err error) {
	if s.peer.settled != nil {
		if err := until(5*time.Second, func() bool { return s.peer.settled(s) }); err != nil {
			return 0, fmt.Errorf("%s: the end of the last upgrade: %w", s.peer.name, err)
		}
	}
	// The process that has just taken over has to see the old one's end as well:
	// tableflip and others refuse to upgrade before.
	// And it has to be through with its last listeners.
	time.Sleep(20*time.Millisecond + time.Duration(s.listeners)*200*time.Microsecond)
	return s.ask(5 * time.Second)
}

// ask returns the pid of a process that answers, once one does.
func (s *server) ask(limit time.Duration) (pid int, err error) {
	deadline := time.Now().Add(limit)
	for {
		if pid, err = s.probe(time.Second); err == nil || time.Now().After(deadline) {
			return pid, err
		}
		time.Sleep(time.Millisecond)
	}
}

// probe sends one small request on a connection of its own, with nothing of
// net/http in the way, and returns the pid that the answer names.
func (s *server) probe(limit time.Duration) (pid int, err error) {
	deadline := time.Now().Add(limit)
	c, err := net.DialTimeout("tcp", s.addr, limit)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	c.SetDeadline(deadline)
	if s.tls {
		t := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
		c = t
	}
	return roundTrip(c, bufio.NewReaderSize(c, 512))
}

const probeRequest = "POST /echo HTTP/1.1\r\nHost: bench\r\nContent-Length: 2\r\n\r\nhi"

// roundTrip sends a request on a connection and reads the answer.
func roundTrip(c net.Conn, r *bufio.Reader) (pid int, err error) {
	if _, err := c.Write([]byte(probeRequest)); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	var body [2]byte
	if n, _ := res.Body.Read(body[:]); res.StatusCode != 200 || string(body[:n]) != "hi" {
		return 0, fmt.Errorf("the answer is %s, %q", res.Status, body[:n])
	}
	return strconv.Atoi(res.Header.Get("X-Pid"))
}

// call asks the server's handler for something else.
func (s *server) call(method, path string) (string, error) {
	req, err := http.NewRequest(method, "http://"+s.addr+path, nil)
	if err != nil {
		return "", err
	}
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := bufio.NewReader(res.Body).ReadString('\n')
	if err == nil && res.StatusCode != 200 {
		err = fmt.Errorf("%s %s: %s", method, path, res.Status)
	}
	return strings.TrimSpace(text), err
}

// upgradeTimes is one upgrade, seen from outside.
type upgradeTimes struct {
	old, new  int
	signal    time.Time
	answer    time.Time // the new one's first
	committed time.Time // as the old one has noted it; zero if it notes nothing
	gone      time.Time
	hung      bool

	rssOld, rssNew, rssAfter float64 // MiB: at the first answer, and of the new one after the old one's end
}

// timedUpgrade upgrades the server with no other load than probes.
func (s *server) timedUpgrade(ctx context.Context) (u upgradeTimes, err error) {
	if u.old, err = s.ready(); err != nil {
		return u, err
	}
	w, err := watchProcess(u.old)
	if err != nil {
		return u, err
	}
	defer w.close()
	os.Remove(s.events())

	type end struct {
		at time.Time
		ok bool
	}
	ended := make(chan end, 1)
	go func() {
		at, ok := w.gone(idleLimit)
		ended <- end{at, ok}
	}()
	signalled := make(chan error, 1)
	u.signal = time.Now()
	go func() { signalled <- s.peer.upgrade(s, u.old) }()
	if err := s.awaitAnother(ctx, &u); err != nil {
		<-signalled
		return u, fmt.Errorf("first answer of the new process: %w", err)
	}
	u.rssOld, u.rssNew = rss(u.old), rss(u.new)
	if err := <-signalled; err != nil {
		return u, err
	}
	e := <-ended
	u.gone, u.hung = e.at, !e.ok
	if u.hung {
		syscall.Kill(u.old, syscall.SIGKILL)
		w.gone(time.Second)
	}
	u.committed = s.committed(u.old)
	u.rssAfter = rss(u.new)
	return u, nil
}

// awaitAnother probes until another process than the old one answers.
func (s *server) awaitAnother(ctx context.Context, u *upgradeTimes) (err error) {
	for deadline := u.signal.Add(upgradeLimit); ; {
		pid, probeErr := s.probe(2 * time.Second)
		now := time.Now()
		switch {
		case probeErr == nil && pid != u.old:
			u.answer, u.new = now, pid
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case now.After(deadline):
			return errors.Join(errors.New("there was none"), probeErr)
		}
		time.Sleep(50 * time.Microsecond)
	}
}

// committed reads when a process has noted its commit.
func (s *server) committed(pid int) (at time.Time) {
	data, _ := os.ReadFile(s.events())
	for line := range strings.Lines(string(data)) {
		var by int
		var ns int64
		if n, _ := fmt.Sscan(line, &by, &ns); n == 2 && by == pid {
			at = time.Unix(0, ns)
		}
	}
	return at
}

// floor is a bare fork and exec of a peer's binary to its first listen.
func (b *bench) floor(p *peer) (time.Duration, error) {
	dir, err := os.MkdirTemp(b.tmp, "floor-")
	if err != nil {
		return 0, err
	}
	g := newGroup(dir)
	defer func() { g.end(); os.RemoveAll(dir) }()
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	began := time.Now()
	_, err = g.start([]string{"BENCH_FLOOR=3"}, []*os.File{w}, filepath.Join(b.bins, p.program), "-addr", "127.0.0.1:0")
	w.Close()
	if err != nil {
		return 0, err
	}
	r.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := r.Read(make([]byte, 1)); err != nil {
		return 0, fmt.Errorf("floor of %s: %w\n%s", p.name, err, g.tail())
	}
	return time.Since(began), nil
}

// subreap makes this process the parent of every descendant that loses its own.
func subreap() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }
