package handoff

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// writePIDFile replaces the file at path by one that names pid. A reader sees
// the old one or the new one whole; a symbolic link at path is replaced, not
// followed.
func writePIDFile(path string, pid int) (err error) {
	// O_EXCL doesn't follow a link either.
	temporary := path + "." + rand.Text()
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("handoff: PID file: %w", err)
	}
	defer func() {
		if err != nil {
			os.Remove(temporary)
			err = fmt.Errorf("handoff: PID file %s: %w", path, err)
		}
	}()
	_, err = f.WriteString(strconv.Itoa(pid) + "\n")
	if err == nil {
		err = f.Chmod(0o644) // whatever the umask
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// removePIDFile removes the file at path if it names pid.
func removePIDFile(path string, pid int) error {
	f, err := openNoFollow(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("handoff: PID file: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && !info.Mode().IsRegular() {
		return nil // not ours; to read a FIFO would wait for its writers
	}
	text, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return fmt.Errorf("handoff: PID file: %w", err)
	}
	if strings.TrimSpace(string(text)) != strconv.Itoa(pid) {
		return nil
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("handoff: PID file: %w", err)
	}
	return nil
}
