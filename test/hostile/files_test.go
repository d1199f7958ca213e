//go:build linux

package hostile

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// A victim is a directory of which nothing may change.
type victim struct {
	dir    string
	before []string
}

func newVictim(t testing.TB) *victim {
	t.Helper()
	v := &victim{dir: folder(t)}
	for _, name := range []string{"file", "pid", "socket"} {
		if err := os.WriteFile(filepath.Join(v.dir, name), []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ln, err := net.Listen("unix", filepath.Join(v.dir, "live"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	v.before = v.state(t)
	return v
}

func (v *victim) state(t testing.TB) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(v.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(v.dir, e.Name()), &st); err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprint(e.Name(), st.Ino, st.Mode, st.Uid, st.Size, st.Nlink, st.Mtim))
	}
	return all
}

func (v *victim) unharmed(t testing.TB) {
	t.Helper()
	if now := v.state(t); !slices.Equal(now, v.before) {
		t.Errorf("the victims were %q, are %q", v.before, now)
	}
}

// swap puts one thing after another in a path's place until stop is called.
func swap(path string, v *victim) (stop func()) {
	ends, ended := make(chan struct{}), make(chan struct{})
	aside := path + "-attack"
	things := []func() error{
		func() error { return os.Symlink(filepath.Join(v.dir, "file"), aside) },
		func() error { return os.Symlink(filepath.Join(v.dir, "live"), aside) },
		func() error { return os.Symlink(filepath.Join(v.dir, "new"), aside) },
		func() error { return os.Symlink(v.dir, aside) },
		func() error { return os.Mkdir(aside, 0o755) },
		func() error { return os.WriteFile(aside, []byte("1\n"), 0o644) },
		func() error { return unix.Mkfifo(aside, 0o644) },
		func() error { return unix.Mknod(aside, unix.S_IFSOCK|0o644, 0) }, // a stale socket
	}
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-ends:
				os.RemoveAll(path)
				return
			default:
			}
			os.RemoveAll(aside)
			if things[i%len(things)]() == nil {
				if os.Rename(aside, path) != nil { // a directory is in the way, or none
					os.RemoveAll(path)
				}
			}
			if i%100 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	}()
	return func() { close(ends); <-ended; os.RemoveAll(aside) }
}

func TestNoSwapOfThePIDFileHarmsAnyOther(t *testing.T) {
	t.Parallel()
	s := start(t, plain(t, "1"))
	s.main()
	v := newVictim(t)
	pid, generation := s.first.Pid(), 1
	stop := swap(s.pids, v)
	deadline := time.Now().Add(20 * time.Second)
	for attempts := 0; attempts < 15 && time.Now().Before(deadline); attempts++ {
		failed := strings.Count(s.first.Output(), "upgrade failed")
		s.signal(pid, syscall.SIGHUP)
		proctest.Until(t, "an upgrade is through or has failed", func() error {
			if strings.Count(s.first.Output(), "upgrade failed") > failed {
				return nil
			}
			a, err := s.who()
			if err == nil && a.generation == generation {
				err = errors.New("neither")
			}
			if err == nil && a.generation != generation && strings.Count(s.first.Output(), "has handed over") < a.generation-1 {
				err = errors.New("it is not the main one yet") // or will be rolled back
			}
			if err == nil && a.generation != generation {
				pid, generation = a.pid, a.generation
				s.adopt(pid)
			}
			return err
		})
	}
	stop()
	v.unharmed(t)
	t.Logf("generation %d", generation)
	s.signal(pid, syscall.SIGHUP)
	if a := s.taken(0); a.generation != generation+1 {
		t.Errorf("got %+v", a)
	}
	if info, err := os.Lstat(s.pids); err != nil || info.Mode() != 0o644 {
		t.Errorf("the PID file is %v, %v", info.Mode(), err)
	}
	s.stop()
	if left, _ := filepath.Glob(s.pids + "*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestNoSwapOfASocketsPathHarmsAnyOther(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	v := newVictim(t)
	path := filepath.Join(dir, "socket")
	stop := swap(path, v)
	bound := 0
	for range 60 {
		out, code := brief(t, plain(t, "1"), "service", nil, nil, "-once", "-unix", path)
		if code == 0 {
			bound++
		} else if code != 1 || !strings.Contains(out, path) {
			t.Errorf("exit status %d\n%s", code, out)
		}
	}
	stop()
	v.unharmed(t)
	t.Logf("bound %d times of 60", bound)
	if _, code := brief(t, plain(t, "1"), "service", nil, nil, "-once", "-unix", path); code != 0 {
		t.Errorf("after the attack: exit status %d", code)
	}
}

func TestModesFollowTheUmaskWhereTheyShould(t *testing.T) {
	t.Parallel()
	for umask, want := range map[string]os.FileMode{"000": 0o777, "022": 0o755, "077": 0o700} {
		s := prepare(t, plain(t, "1"))
		socket := filepath.Join(s.dir, "socket")
		s.start(s.command([]string{"/bin/sh", "-c", "umask " + umask + `; exec "$@"`, "sh"}, "-unix", socket))
		for range 2 {
			s.main()
			for path, mode := range map[string]os.FileMode{s.pids: 0o644, socket: want | os.ModeSocket} {
				if info, err := os.Lstat(path); err != nil || info.Mode() != mode {
					t.Errorf("umask %s: %s is %v, %v, want %v", umask, path, info.Mode(), err, mode)
				}
			}
			s.upgrade()
		}
		s.stop()
	}
}

func TestAPIDFileOfAnotherUserIsNotReplacedInAStickyDirectory(t *testing.T) {
	t.Parallel()
	requireRoot(t)
	s := prepare(t, plain(t, "1"))
	sticky := filepath.Join(s.dir, "sticky")
	s.pids = filepath.Join(sticky, "pid")
	if err := errors.Join(os.Mkdir(sticky, 0o755), os.Chmod(sticky, 0o777|os.ModeSticky), os.WriteFile(s.pids, []byte("1\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	cmd := s.command(nil)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "PID file "+s.pids) {
		t.Errorf("%v: %s", err, out)
	}
	if text, err := os.ReadFile(s.pids); err != nil || string(text) != "1\n" {
		t.Errorf("it says %q, %v", text, err)
	}
	if left, _ := os.ReadDir(sticky); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}
