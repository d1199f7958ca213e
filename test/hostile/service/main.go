//go:build linux

// Service is a server that is attacked: it serves HTTP, upgrades itself, shows
// which variables and descriptors the programs get that it starts, and can change its
// user on the way.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/handoff"
)

// version is set by the build.
var version = "1"

type settings struct {
	opts       handoff.Options
	http, unix string
	delay      time.Duration
	once       bool
	probe      string
	uid, euid  int
}

func main() {
	fmt.Fprintln(os.Stderr, "main runs")
	var s settings
	flag.StringVar(&s.http, "http", "127.0.0.1:0", "serve HTTP on `address`")
	flag.StringVar(&s.unix, "unix", "", "and on the unix socket at `path`")
	flag.StringVar(&s.opts.PIDFile, "pid-file", "", "")
	flag.DurationVar(&s.opts.ReadyTimeout, "ready-timeout", 20*time.Second, "")
	flag.DurationVar(&s.opts.Probation, "probation", -1, "")
	flag.DurationVar(&s.delay, "ready-delay", 0, "wait before being ready")
	flag.BoolVar(&s.once, "once", false, "stop as soon as ready")
	flag.StringVar(&s.probe, "probe", "", "write what a started program sees to `directory`")
	flag.IntVar(&s.uid, "uid", -1, "take this user's and group's id for good, before being ready")
	flag.IntVar(&s.euid, "euid", -1, "take this user's id as the effective one, before being ready")
	flag.Parse()
	s.opts.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("pid", os.Getpid(), "version", version)
	if err := s.serve(); err != nil {
		fmt.Fprintln(os.Stderr, "service:", err)
		os.Exit(1)
	}
}

func (s *settings) serve() error {
	up, err := handoff.New(s.opts)
	if err != nil {
		return err
	}
	defer up.Close()
	srv := &http.Server{Handler: s.handler(up.Generation())}
	var services []handoff.Service
	for _, at := range []struct{ name, network, address string }{{"http", "tcp", s.http}, {"unix", "unix", s.unix}} {
		if at.address == "" {
			continue
		}
		ln, err := up.Listen(at.name, at.network, at.address)
		if err != nil {
			return err
		}
		services = append(services, handoff.Serve(srv, ln))
	}
	if err := errors.Join(s.changeUser(), s.look(up.Generation(), "new")); err != nil {
		return err
	}
	time.Sleep(s.delay)
	if s.once {
		if err := up.Ready(); err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "ready")
		return nil
	}
	return up.Run(context.Background(), services...)
}

func (s *settings) changeUser() error {
	if s.euid >= 0 && os.Geteuid() != s.euid {
		return syscall.Setreuid(-1, s.euid)
	}
	if s.uid < 0 || os.Getuid() == s.uid && os.Geteuid() == s.uid {
		return nil
	}
	return errors.Join(syscall.Setgroups(nil), syscall.Setgid(s.uid), syscall.Setuid(s.uid))
}

func (s *settings) handler(generation int) http.Handler {
	pid := strconv.Itoa(os.Getpid())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "pid=%s generation=%d version=%s", pid, generation, version)
	})
	mux.HandleFunc("GET /look/{when}", func(w http.ResponseWriter, r *http.Request) {
		if err := s.look(generation, filepath.Base(r.PathValue("when"))); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Pid", pid)
		if _, err := io.Copy(w, r.Body); err != nil {
			slog.Warn("echo", "error", err)
		}
	})
	return mux
}

// look writes down what a program sees that this one starts. The shell looks for
// its descriptors without opening any.
func (s *settings) look(generation int, when string) error {
	if s.probe == "" {
		return nil
	}
	out, err := exec.Command("/bin/sh", "-c", `env
		i=3
		while [ $i -lt 300 ]; do
			if [ -e /proc/$$/fd/$i ]; then echo "descriptor $i"; fi
			i=$((i+1))
		done`).Output()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.probe, fmt.Sprintf("%d-%s", generation, when)), out, 0o644)
}
