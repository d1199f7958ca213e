//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/handoff-dev/handoff/handoff"
	"golang.org/x/sys/unix"
)

type keeper struct {
	up *handoff.Upgrader

	mu    sync.Mutex
	lines []string
	files map[string]*os.File
	state *os.File
	conn  net.Conn
}

// add notes a descriptor for /files.
func (k *keeper) add(name string, c syscall.Conn) {
	n, err := inode(c)
	line := fmt.Sprintf("%s\t%T\t%d", name, c, n)
	if err != nil {
		line = fmt.Sprintf("%s\t%T\t%v", name, c, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lines = append(k.lines, line)
}

func (k *keeper) list(w http.ResponseWriter, _ *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	fmt.Fprintln(w, strings.Join(k.lines, "\n"))
}

// takeFiles takes the files of -keep, all of each name.
func (k *keeper) takeFiles() error {
	k.files = map[string]*os.File{}
	for name := range strings.SplitSeq(*keep, ",") {
		for e := range k.up.Inherited().All() {
			if name == "" || e.Name != name {
				continue
			}
			f, err := k.up.Inherited().File(handoff.ByIndex(e.Index))
			if err != nil {
				return err
			}
			if err := k.up.Keep(handoff.File{Name: name, Conn: f}); err != nil {
				return err
			}
			k.files[name] = f
			k.add(name, f)
		}
	}
	return nil
}

func (k *keeper) read(w http.ResponseWriter, r *http.Request) {
	f := k.files[r.FormValue("name")]
	if f == nil {
		fail(w, errNothing)
		return
	}
	buf := make([]byte, 100)
	n, err := f.Read(buf)
	if err != nil {
		fail(w, err)
		return
	}
	w.Write(buf[:n])
}

// takeState takes the number and the connection that were stored, or makes the number.
func (k *keeper) takeState() error {
	if *count {
		f, err := k.up.Inherited().File(handoff.ByName("count"))
		if err != nil {
			fd, err := unix.MemfdCreate("count", unix.MFD_CLOEXEC)
			if err != nil {
				return err
			}
			f = os.NewFile(uintptr(fd), "count")
		}
		k.state = f
		k.add("count", f)
		if err := k.up.Store(handoff.File{Name: "count", Conn: f}); err != nil {
			return err
		}
	}
	if conn, err := k.up.Inherited().Conn(handoff.ByName("client")); err == nil {
		return k.keepClient(conn)
	}
	return nil
}

func (k *keeper) next(w http.ResponseWriter, _ *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state == nil {
		fail(w, errNothing)
		return
	}
	text, err := io.ReadAll(io.NewSectionReader(k.state, 0, 20))
	if err != nil {
		fail(w, err)
		return
	}
	n, _ := strconv.Atoi(string(text))
	n++
	if _, err := k.state.WriteAt([]byte(strconv.Itoa(n)), 0); err != nil {
		fail(w, err)
		return
	}
	fmt.Fprintln(w, n)
}

// welcome accepts one connection, and stores it.
func (k *keeper) welcome(ln net.Listener) error {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		if err := k.keepClient(conn); err != nil {
			return err
		}
	}
}

func (k *keeper) keepClient(conn net.Conn) error {
	c := conn.(*net.UnixConn)
	k.add("client", c)
	k.mu.Lock()
	k.conn = c
	k.mu.Unlock()
	return k.up.Store(handoff.File{Name: "client", Conn: c})
}

func (k *keeper) send(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.conn == nil {
		fail(w, errNothing)
		return
	}
	if _, err := fmt.Fprintln(k.conn, r.FormValue("text")); err != nil {
		fail(w, err)
	}
}
