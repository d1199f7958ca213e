//go:build linux

package hostile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// The kinds of messages, as other releases know them.
const (
	hello  = 1
	commit = 2
	hurry  = 3
	elder  = 4
	status = 6
	heir   = 9
	moved  = 11
)

// packet is a message of a link, byte by byte.
func packet(kind uint16, body string) []byte {
	p := binary.BigEndian.AppendUint16(nil, kind)
	p = binary.BigEndian.AppendUint16(p, 0)
	p = binary.BigEndian.AppendUint32(p, uint32(len(body)))
	return append(p, body...)
}

const goodHello = `{"version":1,"pid":1,"generation":7}`

// A rogue is a predecessor that doesn't do as it should: this very process.
type rogue struct {
	*service
	link  *net.UnixConn
	ready chan struct{} // closed when the service says that it is
}

// startRogue starts a service whose predecessor is this process. The descriptors
// are those that LISTEN_FDS speaks of.
func startRogue(t testing.TB, files []*os.File, flags ...string) *rogue {
	t.Helper()
	s := prepare(t, raced(t, "1"))
	r := &rogue{service: s}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "link"), os.NewFile(uintptr(pair[1]), "link")
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		t.Fatal(err)
	}
	r.link = conn.(*net.UnixConn)
	t.Cleanup(func() { r.link.Close() })
	inbox, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: s.dir + "/notify"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inbox.Close() })
	r.ready = make(chan struct{})
	go hear(inbox, r.ready)
	script := fmt.Sprintf(`export HANDOFF_LINK="%d $$"`, 3+len(files))
	if len(files) > 0 {
		script += fmt.Sprintf(` LISTEN_PID=$$ LISTEN_FDS=%d`, len(files))
	}
	cmd := s.command([]string{"/bin/sh", "-c", script + `; exec "$@"`, "sh"}, flags...)
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+s.dir+"/notify")
	cmd.ExtraFiles = append(append([]*os.File(nil), files...), theirs)
	s.first = proctest.Start(t, cmd)
	return r
}

// send writes to the link, with descriptors. The other side may be gone.
func (r *rogue) send(data []byte, fds ...int) {
	r.t.Helper()
	r.link.SetWriteDeadline(proctest.Deadline(r.t))
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if _, _, err := r.link.WriteMsgUnix(data, rights, nil); err != nil {
		r.t.Errorf("the service does not take %.40q: %v", data, err)
	}
}

// hear reads to the end what the service tells of itself: one that is not read from
// makes a sender wait.
func hear(inbox *net.UnixConn, ready chan<- struct{}) {
	for b := make([]byte, 4096); ; {
		n, _, err := inbox.ReadFrom(b)
		if err != nil {
			return
		}
		if ready != nil && strings.Contains(string(b[:n]), "READY=1") {
			close(ready)
			ready = nil
		}
	}
}

// awaitReady waits until the service has told its predecessor.
func (r *rogue) awaitReady() {
	r.t.Helper()
	select {
	case <-r.ready:
	case <-time.After(time.Until(proctest.Deadline(r.t))):
		r.t.Fatal("it does not say READY=1")
	}
}

// isWell shows that the service goes on: alone, with an upgrade, with an end.
func (r *rogue) isWell(generation int) {
	r.t.Helper()
	r.first.Until("it serves", func() error {
		_, err := r.who()
		return err
	})
	// It is who commits that writes this.
	if err := os.WriteFile(r.pids, []byte(strconv.Itoa(r.first.Pid())), 0o644); err != nil {
		r.t.Fatal(err)
	}
	if a, err := r.who(); err != nil || a.generation != generation {
		r.t.Errorf("got %+v, %v, want generation %d", a, err, generation)
	}
	if a := r.upgrade(); a.generation != generation+1 {
		r.t.Errorf("after the upgrade: %+v", a)
	}
	r.stop()
}

func TestNoPredecessorKeepsAServiceFromServing(t *testing.T) {
	t.Parallel()
	flood := func(kind uint16, body string) func(*rogue) {
		return func(r *rogue) {
			r.send(packet(hello, goodHello))
			r.awaitReady()
			r.send(packet(commit, "{}"))
			for range 10_000 {
				r.send(packet(kind, body))
			}
		}
	}
	null := func(r *rogue) int {
		f, err := os.Open(os.DevNull)
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(func() { f.Close() })
		return int(f.Fd())
	}
	for _, c := range []struct {
		name       string
		generation int
		act        func(*rogue)
	}{
		{"GoesAway", 1, func(r *rogue) {}},
		{"SendsHalfAHeader", 1, func(r *rogue) { r.send(packet(hello, "")[:5]) }},
		{"SendsHalfAHello", 1, func(r *rogue) { r.send(packet(hello, goodHello)[:20]) }},
		{"SendsAnOversizedHello", 1, func(r *rogue) { r.send([]byte{0, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, '{'}) }},
		{"SendsJunk", 1, func(r *rogue) { r.send([]byte(strings.Repeat("junk", 100))) }},
		{"SendsNoJSON", 1, func(r *rogue) { r.send(packet(hello, "\x00\xff")) }},
		{"SendsAHelloOfOtherTypes", 1, func(r *rogue) { r.send(packet(hello, `{"version":"one","pid":[]}`)) }},
		{"CommitsBeforeItsHello", 1, func(r *rogue) { r.send(append(packet(commit, "{}"), packet(hello, goodHello)...)) }},
		{"SendsAHelloOfAnotherVersion", 8, func(r *rogue) {
			r.send(packet(hello, `{"version":99,"pid":-7,"generation":7,"files":[{"ours":true,"path":"/etc/passwd","new":1}],"new":{"a":[1,2]}}`))
			r.awaitReady()
			r.send(packet(commit, `{"new":1}`))
		}},
		{"SendsDescriptorsWithItsHello", 8, func(r *rogue) {
			fd := null(r)
			fds := make([]int, 200)
			for i := range fds {
				fds[i] = fd
			}
			r.send(packet(hello, goodHello), fds...)
			r.awaitReady()
			if n := descriptors(r.t, r.first.Pid()); n > 40 {
				r.t.Errorf("%d descriptors are open", n)
			}
			r.send(packet(commit, "{}"), fds...)
		}},
		{"SendsItsHelloByteByByte", 8, func(r *rogue) {
			for _, b := range packet(hello, goodHello) {
				r.send([]byte{b})
			}
			r.awaitReady()
			r.send(append(packet(commit, "{}"), packet(status, `{"connections":-5}`)...))
		}},
		{"CommitsBeforeItIsReady", 8, func(r *rogue) {
			r.send(append(packet(hello, goodHello), packet(commit, "{}")...))
			r.first.Until("it serves", func() error { _, err := r.who(); return err })
		}},
		{"CommitsTwice", 8, func(r *rogue) {
			r.send(packet(hello, goodHello))
			r.awaitReady()
			r.send(append(packet(commit, "{}"), packet(commit, "{}")...))
		}},
		{"SaysHelloTwice", 8, func(r *rogue) {
			r.send(append(packet(hello, goodHello), packet(hello, `{"generation":70}`)...))
			r.awaitReady()
		}},
		{"DiesWithoutACommit", 8, func(r *rogue) {
			r.send(packet(hello, goodHello))
			r.awaitReady()
		}},
		{"SendsJunkInPlaceOfACommit", 8, func(r *rogue) {
			r.send(packet(hello, goodHello))
			r.awaitReady()
			r.send([]byte("junk and no end"))
		}},
		{"SendsUnknownKinds", 8, func(r *rogue) {
			fd := null(r)
			r.send(packet(hello, goodHello))
			r.awaitReady()
			for kind := range uint16(100) {
				r.send(packet(kind*655+7, `{"x":"y"}`), fd, fd)
			}
			r.send(packet(commit, "{}"))
			r.first.Until("they are read and closed", func() error {
				if !strings.Contains(r.first.Output(), "has handed over") {
					return errors.New("it has not")
				}
				if n := descriptors(r.t, r.first.Pid()); n > 40 {
					return fmt.Errorf("%d descriptors are open", n)
				}
				return nil
			})
		}},
		{"SendsEldersThatAreNone", 8, func(r *rogue) {
			fds := []int{null(r)}
			for _, f := range things(r.t) {
				if f != nil {
					fds = append(fds, int(f.Fd()))
				}
			}
			r.send(packet(hello, goodHello))
			r.awaitReady()
			for _, fd := range fds {
				r.send(packet(elder, `{"pid":1,"generation":1}`), fd)
			}
			r.send(packet(elder, `{"pid":1,"generation":1}`))
			r.send(packet(elder, `{"pid":-1,"generation":1}`), fds...)
			r.send(packet(elder, `[]`), fds[0])
			r.send(packet(commit, "{}"))
		}},
		{"MovesConnectionsThatAreNone", 8, func(r *rogue) {
			r.send(packet(hello, goodHello))
			r.awaitReady()
			body := fmt.Sprintf(`{"first":7,"name":"http","address":%q}`, r.addr)
			for when := range 2 { // before the commit and after it
				for _, f := range things(r.t) {
					if f != nil {
						r.send(packet(moved, body), int(f.Fd()))
					}
				}
				r.send(packet(moved, body))
				r.send(packet(moved, strings.Replace(body, "7", "18446744073709551615", 1)), slices.Repeat([]int{null(r)}, 250)...)
				r.send(packet(moved, `[]`), null(r))
				r.send(packet(moved, `{"name":"nobody's","address":":1"}`), null(r), null(r))
				if when == 0 {
					r.send(packet(commit, "{}"))
				}
			}
			r.first.Until("they are closed", func() error {
				if n := descriptors(r.t, r.first.Pid()); n > 40 {
					return fmt.Errorf("%d descriptors are open", n)
				}
				return nil
			})
		}},
		{"SendsManyStatuses", 8, flood(status, `{"connections":9223372036854775807}`)},
		{"LeavesManyTimes", 8, flood(status, `{"leaving":true}`)},
		{"SendsManyHeirs", 8, flood(heir, `{"heir":true,"generation":-1}`)},
		{"SendsManyHurries", 8, flood(hurry, `{}`)},
		{"SendsManyCommits", 8, flood(commit, `{}`)},
		{"SendsManyHellos", 8, flood(hello, goodHello)},
		{"SendsManyOfANewKind", 8, flood(777, strings.Repeat("x", 500))},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := startRogue(t, nil)
			go io.Copy(io.Discard, r.link)
			c.act(r)
			r.link.Close()
			r.isWell(c.generation)
		})
	}
}

func TestAPredecessorThatNeitherReadsNorWritesIsGivenUp(t *testing.T) {
	t.Parallel()
	r := startRogue(t, nil)
	began := time.Now()
	r.first.Until("it serves", func() error { _, err := r.who(); return err })
	if d := time.Since(began); d > 20*time.Second {
		t.Errorf("it took %v", d)
	}
	r.isWell(1)
}

// What a predecessor sends of itself can't be believed in all it says: here it
// names files that are to be removed in the end.
func TestNoPredecessorHasFilesRemoved(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	file, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	victim := t.TempDir() + "/victim"
	if err := os.WriteFile(victim, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(victim, &st); err != nil {
		t.Fatal(err)
	}
	// The socket is one that the service takes, and one that it closes.
	for _, address := range []string{"-http=" + ln.Addr().String(), "-http=127.0.0.1:0"} {
		r := startRogue(t, []*os.File{file}, address)
		r.send(packet(hello, fmt.Sprintf(`{"version":1,"pid":1,"generation":7,"files":[{"name":"http","ours":true,"network":"tcp","address":%q,"path":%q,"device":%d,"inode":%d}]}`,
			ln.Addr(), victim, st.Dev, st.Ino)))
		r.awaitReady()
		r.send(packet(commit, "{}"))
		r.first.Until("it is the main generation", func() error {
			if !strings.Contains(r.first.Output(), "has handed over") {
				return errors.New("it has not")
			}
			return nil
		})
		r.link.Close() // or its end would be waited for
		if err := r.first.Stop(unix.SIGTERM); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(victim); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}
