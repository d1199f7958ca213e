package control

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// A FIFO would wait for a writer.
func TestOnlyAMemfdIsOpenedAsAMarker(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fifo, file := dir+"/fifo", dir+"/file"
	if err := errors.Join(unix.Mkfifo(fifo, 0o600), os.WriteFile(file, []byte(`{"socket":"/x"}`), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, file, dir, "/dev/null"} {
		if f, err := openMemfd(path); !errors.Is(err, errNoMemfd) {
			t.Errorf("%s: %v, %v", path, f, err)
		}
	}
	m, err := Mark("/run/x.sock")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if path, err := Find(os.Getpid()); err != nil || path != "/run/x.sock" {
		t.Errorf("%q (%v)", path, err)
	}
}

func TestAProcessWithoutAMarkerHasNoSocket(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	if path, err := Find(cmd.Process.Pid); !errors.Is(err, ErrNone) {
		t.Errorf("%q (%v)", path, err)
	}
}
