package notify

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"
)

// MaxSize is the largest datagram that counts, as with systemd.
const MaxSize = 4096

// A Message is one datagram of sd_notify(3) and who sent it.
type Message struct {
	// PID, UID and GID are the sender's, by word of the kernel. PID is 0 and
	// the others are -1 where it doesn't tell: on systems other than Linux, and
	// for a sender that this pid namespace can't see.
	PID, UID, GID int

	// Lines are the KEY=VALUE lines in their order. A line that has no key is
	// not among them.
	Lines []string

	// Files are what came with FDSTORE=1 where Receiver.KeepStored asks for it.
	// They are the caller's to close, with Close.
	Files []*os.File

	// Fault says why the datagram counts for nothing, in words for a log. Lines
	// and Files are then empty.
	Fault error
}

// parseLines returns the lines of a datagram by systemd's rules: \n and \r both
// end a line, empty lines don't count, one NUL at the end is forgiven and any
// other makes the datagram void.
func parseLines(datagram []byte) ([]string, error) {
	if len(datagram) > MaxSize {
		return nil, fmt.Errorf("longer than %d bytes", MaxSize)
	}
	datagram = bytes.TrimSuffix(datagram, []byte{0})
	if len(datagram) == 0 {
		return nil, errors.New("empty")
	}
	if bytes.IndexByte(datagram, 0) >= 0 {
		return nil, errors.New("NUL byte in it")
	}
	var lines []string
	for line := range strings.FieldsFuncSeq(string(datagram), func(r rune) bool { return r == '\n' || r == '\r' }) {
		if strings.IndexByte(line, '=') > 0 {
			lines = append(lines, line)
		}
	}
	if len(lines) > 1 && slices.Contains(lines, barrier) {
		return nil, errors.New("BARRIER=1 together with other lines")
	}
	return lines, nil
}

const barrier = "BARRIER=1"

// Get returns the value of the first line with key.
func (m Message) Get(key string) (string, bool) {
	for _, line := range m.Lines {
		if k, v, _ := strings.Cut(line, "="); k == key {
			return v, true
		}
	}
	return "", false
}

// phase returns which of the three lines about the service's life came last.
// They exclude each other, and the last decides: RELOADING=1 and then READY=1
// is a reload that is over.
func (m Message) phase() string {
	for _, line := range slices.Backward(m.Lines) {
		switch line {
		case "READY=1", "RELOADING=1", "STOPPING=1":
			return line
		}
	}
	return ""
}

// Ready reports whether the sender says that it is ready, and hasn't withdrawn
// it in the same message.
func (m Message) Ready() bool { return m.phase() == "READY=1" }

// Reloading reports whether the sender says that it reloads.
func (m Message) Reloading() bool { return m.phase() == "RELOADING=1" }

// Stopping reports whether the sender says that it is about to end.
func (m Message) Stopping() bool { return m.phase() == "STOPPING=1" }

// Status returns the text of STATUS, or "" where there is none or it is not
// UTF-8. It may hold control characters: quote it for a terminal.
func (m Message) Status() string {
	text, _ := m.Get("STATUS")
	if !utf8.ValidString(text) {
		return ""
	}
	return text
}

// Errno returns the error number of ERRNO, or 0.
func (m Message) Errno() syscall.Errno {
	text, _ := m.Get("ERRNO")
	n, err := strconv.ParseUint(text, 10, 12) // Linux ends at 4095
	if err != nil {
		return 0
	}
	return syscall.Errno(n)
}

// MainPID returns the process id of MAINPID, or 0.
func (m Message) MainPID() int {
	text, _ := m.Get("MAINPID")
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 1 {
		return 0
	}
	return int(n)
}

// ExtendTimeout returns how much more time, from now on, the sender asks for by
// EXTEND_TIMEOUT_USEC, or 0. It is a wish: the caller sets the limit.
func (m Message) ExtendTimeout() time.Duration {
	text, _ := m.Get("EXTEND_TIMEOUT_USEC")
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0
	}
	if n > math.MaxInt64/uint64(time.Microsecond) {
		return math.MaxInt64
	}
	return time.Duration(n) * time.Microsecond
}

// Without returns the lines that have none of keys.
func (m Message) Without(keys ...string) []string {
	var lines []string
	for _, line := range m.Lines {
		if key, _, _ := strings.Cut(line, "="); !slices.Contains(keys, key) {
			lines = append(lines, line)
		}
	}
	return lines
}

// notForwarded are the keys by which a process speaks for the whole service,
// which a successor doesn't yet.
var notForwarded = []string{
	// How the service fares is its present main process's to say: READY would
	// end a reload before the commit, STOPPING would have the manager kill all.
	"READY", "RELOADING", "STOPPING", "MONOTONIC_USEC",
	// Who the main process is, is said by the old one, at the commit.
	"MAINPID", "MAINPIDFD", "MAINPIDFDID",
	// "none" from the successor would keep the old one from saying so.
	"NOTIFYACCESS",
	// A successor that fails is no failure of the service, which goes on.
	"ERRNO", "BUSERROR", "VARLINKERROR", "EXIT_STATUS",
	// Its pings would hide that the old one hangs, its trigger would kill it,
	// and its health is no reason to forgive past restarts.
	"WATCHDOG", "WATCHDOG_USEC", "RESTART_RESET",
	// Answered here, after all before it was passed on.
	"BARRIER",
}

// Forwardable returns the lines that the real service manager may hear from a
// successor that has not taken over: all but those by which a process speaks
// for the whole service, FDSTORE without Files, and values that the manager
// would ignore and a sender of its own refuses. What is left is STATUS,
// EXTEND_TIMEOUT_USEC, the fd store's lines and what is private to a program
// or unknown. The result may be empty.
func (m Message) Forwardable() []string {
	return slices.DeleteFunc(m.Without(notForwarded...), func(line string) bool {
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "FDSTORE":
			return len(m.Files) == 0
		case "FDNAME":
			return len(value) > 255 || strings.ContainsFunc(value, func(r rune) bool { return r < 0x20 || r > 0x7e || r == ':' })
		case "EXTEND_TIMEOUT_USEC":
			_, err := strconv.ParseUint(value, 10, 64)
			return err != nil
		}
		return false
	})
}

// Close closes Files.
func (m Message) Close() {
	for _, file := range m.Files {
		file.Close()
	}
}
