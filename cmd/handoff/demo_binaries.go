//go:build !small

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
)

// versionTrailer stands at the end of each version's binary, with the version's
// number after it. What follows an executable's last section is of no concern
// to any loader.
const versionTrailer = "\nhandoff-demo-version:"

// binaries are two versions of this command, which take turns at one path.
type binaries struct {
	dir  string // ours alone
	path string // of the version installed
}

func newBinaries() (b *binaries, err error) {
	dir, err := os.MkdirTemp("", "handoff-demo-") // mode 0700
	if err != nil {
		return nil, fmt.Errorf("make a folder for the demo: %w", err)
	}
	b = &binaries{dir: dir, path: filepath.Join(dir, "server")}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.remove())
		}
	}()
	for version := 1; version <= 2; version++ {
		if err := copySelf(b.version(version), version); err != nil {
			return nil, fmt.Errorf("copy this command: %w", err)
		}
	}
	return b, nil
}

func (b *binaries) version(n int) string { return filepath.Join(b.dir, "version-"+strconv.Itoa(n)) }

// install puts a version at the path, as a package manager would: by a rename,
// so that there is no instant without a whole binary there.
func (b *binaries) install(version int) error {
	fresh := b.path + ".new"
	if err := os.Link(b.version(version), fresh); err != nil {
		return fmt.Errorf("install version %d: %w", version, err)
	}
	if err := os.Rename(fresh, b.path); err != nil {
		return fmt.Errorf("install version %d: %w", version, err)
	}
	return nil
}

func (b *binaries) remove() error {
	if err := os.RemoveAll(b.dir); err != nil {
		return fmt.Errorf("remove the demo's folder: %w", err)
	}
	return nil
}

func copySelf(to string, version int) (err error) {
	in, err := openSelf()
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s%d", versionTrailer, version)
	return err
}

// ownVersion reads the number at the end of the binary that this process runs.
func ownVersion() (int, error) {
	f, err := openSelf()
	if err != nil {
		return 0, err
	}
	defer f.Close()
	const tail = 64
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	end := make([]byte, min(tail, size))
	if _, err := f.ReadAt(end, size-int64(len(end))); err != nil {
		return 0, err
	}
	_, text, ok := bytes.Cut(end, []byte(versionTrailer))
	n, err := strconv.Atoi(string(text))
	if !ok || err != nil {
		return 0, errors.New("this binary has no version of the demo: it is started by 'handoff demo' only")
	}
	return n, nil
}

// openSelf opens the binary that this process runs. Linux knows it also after
// the file on disk was replaced.
func openSelf() (*os.File, error) {
	if runtime.GOOS == "linux" {
		if f, err := os.Open("/proc/self/exe"); err == nil {
			return f, nil
		}
	}
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}
