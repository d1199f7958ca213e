//go:build unix

package handoff

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAPIDFileIsReadableWhateverTheUmask(t *testing.T) {
	old := syscall.Umask(0o777) // the process's: not in parallel
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "pid")
	if err := writePIDFile(path, 4711); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o644 {
		t.Errorf("mode %v, %v, want 0644", info.Mode(), err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "4711\n" {
		t.Errorf("it says %q, %v", text, err)
	}
}

func TestAReaderOfAPIDFileNeverSeesHalfOfIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "pid")
	if err := writePIDFile(path, 1111111); err != nil {
		t.Fatal(err)
	}
	var writers sync.WaitGroup
	for _, pid := range []int{1111111, 22} {
		writers.Go(func() {
			for range 100 {
				if err := writePIDFile(path, pid); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 200 {
		if text, err := os.ReadFile(path); err != nil || string(text) != "1111111\n" && string(text) != "22\n" {
			t.Errorf("it says %q, %v", text, err)
		}
	}
	writers.Wait()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestALinkInAPIDFilesPlaceIsReplacedNotFollowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, precious := filepath.Join(dir, "pid"), filepath.Join(dir, "precious")
	if err := errors.Join(os.WriteFile(precious, []byte("7\n"), 0o600), os.Symlink(precious, path)); err != nil {
		t.Fatal(err)
	}
	removePIDFile(path, 7)
	if err := writePIDFile(path, 7); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		t.Errorf("it is %v, %v", info.Mode(), err)
	}
	if text, err := os.ReadFile(precious); err != nil || string(text) != "7\n" {
		t.Errorf("where the link led to it says %q, %v", text, err)
	}
}

func TestAPIDFileIsRemovedOnlyByWhomItNames(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pid")
	if err := errors.Join(removePIDFile(path, 7), writePIDFile(path, 77), removePIDFile(path, 7)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	if err := removePIDFile(path, 77); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestAPIDFileThatCanNotBeWrittenIsNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing", "pid")
	if err := writePIDFile(missing, 7); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("a missing directory: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "pid"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writePIDFile(filepath.Join(dir, "pid"), 7); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "pid")) {
		t.Errorf("a directory in its place: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if os.Getuid() == 0 {
		return // a read-only directory is none for root
	}
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if err := writePIDFile(filepath.Join(dir, "p"), 7); !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), filepath.Join(dir, "p")) {
		t.Errorf("a read-only directory: %v", err)
	}
}

func TestAFIFOInAPIDFilesPlaceBlocksNobody(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pid")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := removePIDFile(path, 7); err != nil {
		t.Error(err)
	}
	writer, err := os.OpenFile(path, os.O_RDWR, 0) // which never writes
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	done := make(chan error, 1)
	go func() { done <- removePIDFile(path, 7) }()
	if err := until(t, done, "the end of the removal"); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}
