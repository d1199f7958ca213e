package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/test/bench/app"
)

// spec is how a server is to be started for a measurement.
type spec struct {
	tls       bool
	listeners int
	probation time.Duration // handoff's
	heapMiB   int           // grown after the start
}

// peer is one way to restart a server.
type peer struct {
	name    string
	module  string // whose version is the server's; "" for none
	version string
	how     string
	program string // below servers/
	// start starts the first generation.
	start func(s *server) error
	// upgrade begins an upgrade: of the generation with the pid old. Where nothing
	// but the caller starts the new one, it does so.
	upgrade func(s *server, old int) error
	// settled tells whether another upgrade can begin once the old process is gone;
	// nil where it always can.
	settled func(s *server) bool
	goes    bool // a Go program whose handler runs in the process that is upgraded
}

// signalled is a peer that is upgraded by a signal to the process that answers.
func signalled(name, module, program string, sig syscall.Signal, how string) *peer {
	return &peer{name: name, module: module, program: program, how: how, goes: true,
		start:   startProgram,
		upgrade: func(_ *server, old int) error { return syscall.Kill(old, sig) },
	}
}

// allPeers are those that this machine can run, in the order of the tables.
func allPeers() []*peer {
	peers := []*peer{
		signalled("handoff", "github.com/handoff-dev/handoff", "handoff", syscall.SIGHUP, "SIGHUP"),
		signalled("tableflip", "github.com/cloudflare/tableflip", "tableflip", syscall.SIGHUP, "SIGHUP, then http.Server.Shutdown, as its README has it"),
		signalled("grace", "github.com/facebookgo/grace", "grace", syscall.SIGUSR2, "SIGUSR2"),
		signalled("endless", "github.com/fvbock/endless", "endless", syscall.SIGHUP, "SIGHUP"),
		{name: "overseer", module: "github.com/jpillora/overseer", program: "overseer", goes: true, start: startProgram,
			how:     "SIGUSR2 to its master process, which stays; TerminateTimeout 2 s, for its 30 s are longer than a measurement",
			upgrade: func(s *server, _ int) error { return syscall.Kill(s.first, syscall.SIGUSR2) }},
		{name: "stop and start", program: "plain", goes: true, start: startProgram, upgrade: restart,
			how: "net/http alone: SIGTERM, http.Server.Shutdown, then the new one is started"},
		{name: "holder", program: "plain", goes: true, start: startHeld, upgrade: restart,
			how: "the same, but the sockets are held open by another process, which passes them on (systemfd's way)"},
	}
	if nginx, err := exec.LookPath("nginx"); err == nil {
		version := nginxVersion(nginx)
		const before = ", worker_processes 1, in front of a Go server that stays"
		peers = append(peers,
			&peer{name: "nginx USR2", version: version, start: startNginx, upgrade: nginxReplace, settled: nginxSettled, how: "USR2 to the master, QUIT to the old one when the new one is there" + before},
			&peer{name: "nginx HUP", version: version, start: startNginx, upgrade: nginxReload, how: "HUP to the master" + before})
	}
	return peers
}

// server is one of them under measurement.
type server struct {
	*group
	*spec
	peer    *peer
	bins    string // where the programs are
	addr    string
	first   int // pid of the process that was started first
	current int // of the one that the caller has started last
	held    []*os.File
	backend *group
}

func (s *server) args() []string {
	args := []string{"-addr", s.addr, "-listeners", strconv.Itoa(s.listeners), "-probation", s.probation.String()}
	if s.tls {
		args = append(args, "-tls", "-cert", filepath.Join(s.bins, "cert.pem"), "-key", filepath.Join(s.bins, "key.pem"))
	}
	return args
}

func (s *server) events() string { return filepath.Join(s.dir, "events") }

func startProgram(s *server) (err error) {
	s.current, err = s.group.start([]string{app.EventsVariable + "=" + s.events()}, nil, filepath.Join(s.bins, s.peer.program), s.args()...)
	return err
}

// startHeld passes sockets that this process holds.
func startHeld(s *server) (err error) {
	if s.held == nil {
		for _, addr := range app.Addrs(s.addr, s.listeners) {
			ln, err := net.Listen("tcp", addr)
			if err != nil {
				return err
			}
			f, err := ln.(*net.TCPListener).File()
			ln.Close()
			if err != nil {
				return err
			}
			s.held = append(s.held, f)
		}
	}
	env := []string{app.EventsVariable + "=" + s.events(), "LISTEN_FDS=" + strconv.Itoa(len(s.held))}
	s.current, err = s.group.start(env, s.held, filepath.Join(s.bins, s.peer.program), s.args()...)
	return err
}

// restart is what a service manager does.
func restart(s *server, old int) error {
	w, err := watchProcess(old)
	if err != nil {
		return err
	}
	defer w.close()
	if err := syscall.Kill(old, syscall.SIGTERM); err != nil {
		return err
	}
	if _, ok := w.gone(15 * time.Second); !ok {
		return errors.New("the old process did not stop")
	}
	return s.peer.start(s)
}

func nginxVersion(nginx string) string {
	out, _ := exec.Command(nginx, "-v").CombinedOutput()
	_, version, _ := strings.Cut(strings.TrimSpace(string(out)), "nginx/")
	return version
}

// nginx doesn't echo by itself, so a server that stays does it behind it.
const nginxConf = `daemon off;
master_process on;
worker_processes 1;
worker_rlimit_nofile 20000;
pid nginx.pid;
error_log log warn;
events { worker_connections 19000; }
http {
	access_log off;
	keepalive_requests 1000000000;
	keepalive_timeout 600s;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	upstream app { server unix:%[1]s; keepalive 32; keepalive_requests 1000000000; }
	server {
%[2]s		location / {
			proxy_pass http://app;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_hide_header X-Pid;
			add_header X-Pid $pid;
		}
	}
}
`

func startNginx(s *server) (err error) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		return err
	}
	socket := filepath.Join(s.dir, "app.sock")
	s.backend = newGroup(s.dir)
	if _, err := s.backend.start(nil, nil, filepath.Join(s.bins, "plain"), "-addr", "unix:"+socket); err != nil {
		return err
	}
	var listen strings.Builder
	for _, addr := range app.Addrs(s.addr, s.listeners) {
		if s.tls {
			fmt.Fprintf(&listen, "\t\tlisten %s ssl http2 backlog=4096;\n", addr)
		} else {
			fmt.Fprintf(&listen, "\t\tlisten %s backlog=4096;\n", addr)
		}
	}
	if s.tls {
		fmt.Fprintf(&listen, "\t\tssl_certificate %[1]s/cert.pem;\n\t\tssl_certificate_key %[1]s/key.pem;\n", s.bins)
	}
	if err := os.Chmod(s.dir, 0o755); err != nil { // for its workers
		return err
	}
	conf := filepath.Join(s.dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, socket, listen.String()), 0o644); err != nil {
		return err
	}
	if err := until(5*time.Second, func() bool { return os.Chmod(socket, 0o666) == nil }); err != nil {
		return fmt.Errorf("the server behind nginx: %w", err)
	}
	// nginx takes USR2 only from a process that has lost its parent, as daemons have;
	// daemon on would leave the process group.
	const orphan = `"$@" & until [ -s nginx.pid ]; do sleep 0.01; done`
	s.current, err = s.group.start(nil, nil, "/bin/sh", "-c", orphan, "sh", nginx, "-p", s.dir, "-c", conf, "-e", filepath.Join(s.dir, "log"))
	return err
}

func nginxMaster(s *server) (int, error) {
	data, err := os.ReadFile(filepath.Join(s.dir, "nginx.pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(data)))
}

func nginxReload(s *server, _ int) error {
	master, err := nginxMaster(s)
	if err != nil {
		return err
	}
	return syscall.Kill(master, syscall.SIGHUP)
}

func nginxReplace(s *server, _ int) error {
	master, err := nginxMaster(s)
	if err != nil {
		return err
	}
	if err := syscall.Kill(master, syscall.SIGUSR2); err != nil {
		return err
	}
	if err := until(5*time.Second, func() bool {
		now, err := nginxMaster(s)
		return err == nil && now != master
	}); err != nil {
		return fmt.Errorf("the new nginx: %w", err)
	}
	return syscall.Kill(master, syscall.SIGQUIT)
}

// nginxSettled waits for the old master, which outlives its workers a little.
func nginxSettled(s *server) bool {
	_, err := os.Stat(filepath.Join(s.dir, "nginx.pid.oldbin"))
	return err != nil
}

// until polls a condition.
func until(limit time.Duration, ok func() bool) error {
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("not there after %v", limit)
		}
	}
	return nil
}
