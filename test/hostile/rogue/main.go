//go:build linux

// Rogue is a successor that does to the link whatever it should not, and then is
// ready and stays, or exits with status 3. Two words in the file "act" beside its
// executable say which.
package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/handoff-dev/handoff/handoff"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "rogue:", err)
		os.Exit(1)
	}
}

func run() error {
	var act, end string
	words, err := os.ReadFile(filepath.Join(filepath.Dir(os.Args[0]), "act"))
	if err == nil {
		_, err = fmt.Sscan(string(words), &act, &end)
	}
	if err != nil {
		return err
	}
	link, err := openLink()
	if err != nil {
		return err
	}
	set, err := handoff.Inherit(handoff.InheritOptions{})
	if err != nil {
		return err
	}
	ln, err := set.Listener(handoff.ByName("http"))
	if err != nil {
		return err
	}
	if err := misbehave(link, act); err != nil {
		fmt.Fprintln(os.Stderr, "rogue: the predecessor does not listen:", err)
	}
	if end != "stay" {
		os.Exit(3)
	}
	n, err := handoff.OpenNotifier()
	if err != nil {
		return err
	}
	go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "pid=%d generation=1 version=rogue", os.Getpid())
	}))
	states := []handoff.State{handoff.Ready}
	if act == "many" {
		states = append(states, "X_HANDOFF_ROGUE=1") // as it has said hello, it has to lie about this too
	}
	if err := n.Notify(states...); err != nil {
		return err
	}
	time.Sleep(time.Minute)
	return nil
}

func openLink() (*net.UnixConn, error) {
	number, _, _ := strings.Cut(os.Getenv("HANDOFF_LINK"), " ")
	fd, err := strconv.Atoi(number)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "link")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), conn.SetDeadline(time.Now().Add(10 * time.Second))
}

func packet(kind uint16, body string) []byte {
	p := binary.BigEndian.AppendUint16(nil, kind)
	p = binary.BigEndian.AppendUint32(append(p, 0, 0), uint32(len(body)))
	return append(p, body...)
}

func misbehave(link *net.UnixConn, act string) error {
	switch act {
	case "never-read":
		return nil
	case "wait":
		time.Sleep(2 * time.Second)
		return nil
	case "close":
		return link.Close()
	case "junk":
		_, err := link.Write([]byte(strings.Repeat("junk", 1000)))
		return err
	case "truncate":
		_, err := link.Write(packet(1, `{"version":1}`)[:12])
		return err
	case "oversize":
		_, err := link.Write([]byte{0, 1, 0, 0, 0xff, 0xff, 0xff, 0xff})
		return err
	case "speak-as-the-predecessor":
		return each(link, 1, 4, 2, 2, 4, 5, 6, 3)
	case "take-what-was-never-sent":
		for id := range 1000 {
			if _, err := link.Write(packet(12, fmt.Sprintf(`{"first":%d,"taken":%d}`, id, id%5*100-100))); err != nil {
				return err
			}
		}
		return nil
	case "many":
		for range 10_000 / 8 {
			if err := each(link, 0, 1, 2, 3, 4, 5, 6, 11, 65535); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("%q is unknown", act)
}

// each sends messages of some kinds, all with descriptors.
func each(link *net.UnixConn, files int, kinds ...uint16) error {
	fds := make([]int, 20*files)
	for _, kind := range kinds {
		var rights []byte
		if files > 0 {
			rights = unix.UnixRights(fds...)
		}
		if _, _, err := link.WriteMsgUnix(packet(kind, `{"version":1,"pid":1,"generation":1}`), rights, nil); err != nil {
			return err
		}
	}
	return nil
}
