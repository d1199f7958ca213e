//go:build unix

package handoff

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

// stateOfBytes returns state as a successor has it.
func stateOfBytes(t *testing.T, data []byte) *NamedState {
	t.Helper()
	p := &provision{write: func(w io.Writer) error { _, err := w.Write(data); return err }, busy: make(chan struct{}, 1)}
	file, size, err := p.file()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return &NamedState{Name: "cache", file: file, size: size}
}

func TestStateIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 1 << 10, 1<<20 + 1} {
		data := bytes.Repeat([]byte("0123456789abcde\n"), size/16+1)[:size]
		if err := iotest.TestReader(stateOfBytes(t, data), data); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		st := stateOfBytes(t, data)
		if err := iotest.TestReader(io.NewSectionReader(st, 0, st.Size()), data); err != nil {
			t.Errorf("%d bytes by ReadAt: %v", size, err)
		}
	}
	if _, err := stateOfBytes(t, nil).ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("a negative offset is no error")
	}
}

func TestStateInATemporaryFileLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	f, err := temporaryStateFile()
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if _, err := f.write.WriteString("state"); err != nil {
		t.Fatal(err)
	}
	if err := f.seal(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("the directory has %v, %v", entries, err)
	}
	info, err := f.read.Stat()
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != 5 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := f.read.WriteAt([]byte("x"), 0); err == nil {
		t.Error("whoever reads it can write it too")
	}
	t.Setenv("TMPDIR", filepath.Join(dir, "gone"))
	if _, err := temporaryStateFile(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a directory: %v", err)
	}
}

func TestStateThatWasHandedOverCanNotBeChanged(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("seals are Linux's")
	}
	st := stateOfBytes(t, []byte("state"))
	if _, err := st.file.WriteAt([]byte("x"), 0); !errors.Is(err, syscall.EPERM) {
		t.Errorf("writing: %v, want %v", err, syscall.EPERM)
	}
	for _, size := range []int64{0, 100} {
		if err := st.file.Truncate(size); !errors.Is(err, syscall.EPERM) {
			t.Errorf("truncating to %d: %v, want %v", size, err, syscall.EPERM)
		}
	}
}

// apprentice returns a generation whose predecessor the test is.
func apprentice(t *testing.T, hello link.Hello) (u *Upgrader, predecessor *link.Conn) {
	t.Helper()
	ours, file, err := link.Pair()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := link.OpenFile(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	u = newUpgrader(t, Options{})
	r := &relative{conn: theirs, desk: newDesk(hello)}
	u.in(func() { u.machine.awaiting, u.family.predecessor = true, r })
	go u.followRelative(r)
	ours.SetReadDeadline(time.Now().Add(20 * time.Second))
	return u, ours
}

func TestWhatAPredecessorSendsInPlaceOfStateIsAnError(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	four, err := os.Create(filepath.Join(t.TempDir(), "four"))
	if err == nil {
		_, err = four.WriteString("four")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer four.Close()
	huge := strings.Repeat("x", 500_000)
	for what, c := range map[string]struct {
		body  link.State
		files []syscall.Conn
		want  error
	}{
		"none":              {link.State{None: true}, nil, ErrNoState},
		"none, with a file": {link.State{None: true}, []syscall.Conn{four}, ErrNoState},
		"a fault":           {link.State{Fault: huge}, nil, ErrStateLost},
		"no file":           {link.State{Size: 4}, nil, ErrStateLost},
		"two files":         {link.State{Size: 4}, []syscall.Conn{four, four}, ErrStateLost},
		"a pipe":            {link.State{Size: 4}, []syscall.Conn{r}, ErrStateLost},
		"truncated":         {link.State{Size: 5}, []syscall.Conn{four}, ErrStateLost},
		"longer than said":  {link.State{Size: 3}, []syscall.Conn{four}, ErrStateLost},
		"a negative size":   {link.State{Size: -4}, []syscall.Conn{four}, ErrStateLost},
		"a huge size":       {link.State{Size: 1<<63 - 1}, []syscall.Conn{four}, ErrStateLost},
		"another name":      {link.State{Size: 4, Name: "other"}, []syscall.Conn{four}, ErrStateLost},
		"a huge name":       {link.State{Size: 4, Name: huge}, []syscall.Conn{four}, ErrStateLost},
	} {
		u, predecessor := apprentice(t, link.Hello{State: true})
		got := make(chan error, 1)
		go func() {
			_, err := u.State(t.Context(), "cache")
			got <- err
		}()
		m, err := predecessor.Receive()
		var ask link.Ask
		if err != nil || m.Kind != link.KindAsk || m.Decode(&ask) != nil || ask.Name != "cache" {
			t.Fatalf("%s: asked %+v, %v", what, ask, err)
		}
		c.body.ID = ask.ID
		if c.body.Name == "" {
			c.body.Name = ask.Name
		}
		// Answers to questions that nobody has asked are dropped.
		err = errors.Join(predecessor.Send(linkWait, link.KindState, link.State{ID: 77, Size: 4}, four),
			predecessor.Send(linkWait, link.KindState, "junk", four),
			predecessor.Send(linkWait, link.KindState, c.body, c.files...))
		if err != nil {
			t.Fatal(err)
		}
		if err := until(t, got, "the answer"); !errors.Is(err, c.want) || len(err.Error()) > 1000 {
			t.Errorf("%s: %.300v, want %v", what, err, c.want)
		}
	}
}

func TestALastWordThatIsNotWhatItSaysIsRefused(t *testing.T) {
	t.Parallel()
	u, predecessor := apprentice(t, link.Hello{State: true})
	if err := u.TakeLast("word", func(*NamedState) error { t.Error("it is taken"); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := predecessor.Send(linkWait, link.KindState, link.State{ID: 3, Name: "word", Last: true, Size: 4}); err != nil {
		t.Fatal(err)
	}
	m, err := predecessor.Receive()
	var v link.Verdict
	if err != nil || m.Decode(&v) != nil || v.ID != 3 || v.Fault == "" {
		t.Errorf("the answer is %+v, %v", v, err)
	}
}

func TestWhoWaitsForStateIsToldThatThereWillBeNone(t *testing.T) {
	t.Parallel()
	for want, end := range map[error]func(*Upgrader, *link.Conn){
		ErrStateLost: func(_ *Upgrader, predecessor *link.Conn) { predecessor.Close() },
		ErrStopping:  func(u *Upgrader, _ *link.Conn) { u.Stop() },
	} {
		u, predecessor := apprentice(t, link.Hello{State: true})
		got := make(chan error, 1)
		go func() {
			_, err := u.State(t.Context(), "cache")
			got <- err
		}()
		m, err := predecessor.Receive()
		if err != nil {
			t.Fatal(err)
		}
		m.Close()
		end(u, predecessor)
		if err := until(t, got, "the answer"); !errors.Is(err, want) {
			t.Errorf("State: %v, want %v", err, want)
		}
	}
	u, predecessor := apprentice(t, link.Hello{})
	if _, err := u.State(t.Context(), "cache"); !errors.Is(err, ErrNoState) {
		t.Errorf("of a predecessor that answers nothing: %v, want %v", err, ErrNoState)
	}
	predecessor.Close()
}

func TestANameOfStateIsProvidedAndTakenOnce(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{})
	write := func(io.Writer) error { return nil }
	take := func(*NamedState) error { return nil }
	for what, err := range map[string]error{
		"cache": u.Provide("cache", 1, write),
		"word":  u.ProvideLast("word", 1, write, nil),
		"take":  u.TakeLast("word", take),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	huge := strings.Repeat("x", 256)
	for what, err := range map[string]error{
		"again":         u.Provide("cache", 1, write),
		"again, last":   u.ProvideLast("cache", 1, write, nil),
		"last, again":   u.Provide("word", 1, write),
		"taken again":   u.TakeLast("word", take),
		"no writer":     u.Provide("none", 1, nil),
		"no taker":      u.TakeLast("none", nil),
		"a huge name":   u.Provide(huge, 1, write),
		"a huge taker":  u.TakeLast(huge, take),
		"a name with :": u.ProvideLast("a:b", 1, write, nil),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if _, err := u.State(t.Context(), huge); !errors.Is(err, ErrBadName) {
		t.Errorf("asking for a huge name: %v, want %v", err, ErrBadName)
	}
}

func TestSettledWaitsForALastWordWhoseSpeakerHasDied(t *testing.T) {
	t.Parallel()
	u, predecessor := apprentice(t, link.Hello{State: true})
	ln := listenLocal(t, u)
	taking, taken := make(chan struct{}), make(chan struct{})
	if err := u.TakeLast("word", func(st *NamedState) error {
		close(taking)
		<-taken
		_, err := io.Copy(io.Discard, st)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	settled := u.Settled(ln)
	word := stateOfBytes(t, []byte("amen"))
	if err := predecessor.Send(linkWait, link.KindState, link.State{ID: 1, Name: "word", Last: true, Size: 4}, word.file); err != nil {
		t.Fatal(err)
	}
	predecessor.Close()
	until(t, taking, "the last word")
	for alone := false; !alone; time.Sleep(time.Millisecond) {
		u.in(func() { alone = u.family.predecessor == nil })
	}
	select {
	case <-settled:
		t.Error("settled before the last word was taken")
	default:
	}
	close(taken)
	until(t, settled, "the settlement")
}
