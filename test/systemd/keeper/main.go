//go:build linux

// Keeper is a service that tells what descriptors it has, and keeps state in the
// service manager's store. It answers HTTP on every listener called "http".
//
//	GET /       pid=PID generation=N version=keeper
//	GET /files  a line for each descriptor that it serves on or keeps: its name, its
//	            kind and its inode, separated by tabs
//	GET /read?name=NAME   a line read from the kept file of that name
//	GET /count  counts up, and answers with the number; see -count
//	GET /slow?ms=N        answers after so many milliseconds
//	GET /send?text=TEXT   sends a line on the stored connection; see -client
//	GET /hangup           closes that
//	GET /notify?state=STATE&state=STATE…   tells systemd so, with a file if there is file=
//	GET /upgrade          upgrades, and answers with the error
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/handoff"
)

var (
	listeners = flag.Int("listeners", 1, "listen this many times, by the name http, on 127.0.0.1:8080 and the ports after it")
	keep      = flag.String("keep", "", "take inherited files by these `names`, separated by commas, and keep them")
	count     = flag.Bool("count", false, "store a number in memory")
	client    = flag.String("client", "", "accept one connection on the unix socket at `path`, and store it")
	dir       = flag.String("dir", "", "Options.Dir")
	readopt   = flag.Bool("readopt", false, "see to the service again if the successor dies while this generation drains")
	slow      = flag.Duration("slow", 0, "be ready only after this `time`")
	extend    = flag.Bool("extend", false, "ask systemd for the time of -slow")
	once      = flag.Bool("once", false, "be the service of one connection: answer its first line and end")
	sick      = flag.String("sick", "", "watchdog: fail while there is a file at `path`, and hang if that says so")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "keeper:", err)
		os.Exit(1)
	}
}

func run() error {
	if *once {
		return answerOne()
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("pid", os.Getpid())
	up, err := handoff.New(handoff.Options{Logger: log, Probation: 50 * time.Millisecond, Watchdog: health, Readopt: *readopt, Dir: *dir})
	if err != nil {
		return err
	}
	defer up.Close()
	k := &keeper{up: up}
	if err := k.takeFiles(); err != nil {
		return err
	}
	if err := k.takeState(); err != nil {
		return err
	}
	if err := startSlowly(*slow, *extend); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "pid=%d generation=%d version=keeper\n", os.Getpid(), up.Generation())
	})
	mux.HandleFunc("GET /files", k.list)
	mux.HandleFunc("GET /read", k.read)
	mux.HandleFunc("GET /count", k.next)
	mux.HandleFunc("GET /send", k.send)
	mux.HandleFunc("GET /hangup", k.hangUp)
	mux.HandleFunc("GET /notify", notify)
	mux.HandleFunc("GET /upgrade", k.upgrade)
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		ms, _ := strconv.Atoi(r.FormValue("ms"))
		time.Sleep(time.Duration(ms) * time.Millisecond)
		fmt.Fprintln(w, "slept")
	})
	var services []handoff.Service
	for i := range *listeners {
		ln, err := up.Listen("http", "tcp", fmt.Sprintf("127.0.0.1:%d", 8080+i))
		if err != nil {
			return err
		}
		k.add("http", ln.(syscall.Conn))
		services = append(services, handoff.Serve(&http.Server{Handler: mux}, ln))
	}
	if *client != "" {
		ln, err := up.Listen("door", "unix", *client)
		if err != nil {
			return err
		}
		services = append(services, handoff.Service{Serve: func() error { return k.welcome(ln) }})
	}
	return up.Run(context.Background(), services...)
}

// answerOne is the service of a socket unit with Accept=yes.
func answerOne() error {
	set, err := handoff.Inherit(handoff.InheritOptions{})
	if err != nil {
		return err
	}
	defer set.Close()
	name := ""
	for e := range set.All() {
		name = e.Name
	}
	conn, err := set.Conn(handoff.ByIndex(0))
	if err != nil {
		return err
	}
	defer conn.Close()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(conn, "%d descriptor %s peer %s: %s", set.Len(), name, os.Getenv("REMOTE_ADDR"), line)
	return err
}

// health is what the watchdog asks.
func health(ctx context.Context) error {
	text, err := os.ReadFile(*sick)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if strings.TrimSpace(string(text)) == "hang" {
		select {} // not even the context helps
	}
	return errors.New("not well")
}

// inode returns the number of an open file.
func inode(c syscall.Conn) (n uint64, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var st syscall.Stat_t
	if e := raw.Control(func(fd uintptr) { err = syscall.Fstat(int(fd), &st) }); e != nil {
		return 0, e
	}
	return st.Ino, err
}

func fail(w http.ResponseWriter, err error) {
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

var errNothing = errors.New("there is nothing of that name")
