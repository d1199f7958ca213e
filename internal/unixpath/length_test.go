package unixpath

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

func TestAnAddressIsTooLongWhereTheSystemSaysSo(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("its paths have other forms")
	}
	dir, err := os.MkdirTemp("/tmp", "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	prefixes := []string{dir + "/"}
	if runtime.GOOS == "linux" {
		prefixes = append(prefixes, "@"+strings.ReplaceAll(dir, "/", "-"))
	}
	for _, prefix := range prefixes {
		for length := 100; length < 112; length++ {
			address := prefix + strings.Repeat("x", length-len(prefix))
			ln, err := net.Listen("unix", address)
			if err == nil {
				ln.Close()
			}
			got := Check(address)
			if (err == nil) != (got == nil) || got != nil && (!errors.Is(got, syscall.EINVAL) || !strings.Contains(got.Error(), "bytes, more than a unix socket's may have")) {
				t.Errorf("%d bytes, %q: Check says %v, the system %v", length, address[:4], got, err)
			}
		}
	}
}

func TestAStaleSocketAtTheLongestPathIsRemoved(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("its paths have other forms")
	}
	dir, err := os.MkdirTemp("/tmp", "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, strings.Repeat("x", longest()-len(dir)-1))
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
	if err := RemoveStale("unix", path); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left: %v (%v)", entries, err)
	}
}
