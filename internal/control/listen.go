package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"github.com/handoff-dev/handoff/internal/unixpath"
)

// CheckDirectory returns an error if somebody else could replace a socket at path:
// its directory belongs to another user than this process's or root, or others may
// write to it, and it isn't sticky.
func CheckDirectory(path string) error {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("the directory of the control socket: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("the control socket can't be in %s, which is no directory", dir)
	}
	return checkOwner(dir, info)
}

// Listen listens on the unix socket at path with mode 0600 from its birth or, where
// the system can't do that, before anyone is let in. With a group that is not -1 the
// socket is the group's too, with mode 0660. It doesn't unlink the path on Close.
func Listen(ctx context.Context, path string, group int) (*net.UnixListener, error) {
	if err := unixpath.Check(path); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		// Linux takes the file's mode from the socket's. The mode after bind is what
		// counts elsewhere.
		return c.Control(restrict)
	}}
	any, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	ln, ok := any.(*net.UnixListener)
	if !ok {
		any.Close()
		return nil, fmt.Errorf("%s is no path of a unix socket", path)
	}
	ln.SetUnlinkOnClose(false)
	if err := restrictFile(path, group); err != nil {
		return nil, errors.Join(err, ln.Close(), os.Remove(path))
	}
	return ln, nil
}

func restrictFile(path string, group int) error {
	mode := os.FileMode(0o600)
	if group >= 0 {
		if err := os.Lchown(path, -1, group); err != nil {
			return fmt.Errorf("giving the control socket to group %d: %w", group, err)
		}
		mode = 0o660
	}
	return os.Chmod(path, mode)
}
