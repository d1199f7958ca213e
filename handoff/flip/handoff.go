package flip

import (
	"debug/buildinfo"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/handoff/internal/foreign"
)

const (
	tableflipModule = "github.com/cloudflare/tableflip"
	handoffModule   = "github.com/handoff-dev/handoff"
)

// NewHandoff is [handoff.New] for a service that comes from tableflip, or may have to go
// back to it. What it returns is used as any other, with two things on top.
//
// If a tableflip server has started this process as its successor, then its
// descriptors are inherited: listeners and packet conns are found by [handoff.Upgrader.Listen]
// and ListenPacket under any name, by the words in which the old server has asked for
// them or else by their address; conns and files are in Inherited, see [ConnName] and
// [FileName]. Ready tells the old server, which then hands over at once and drains as it does.
//
// If isTableflip says of the file that an upgrade is to start that it is a tableflip
// server, then it is started as tableflip would, with all that is handed on; nil
// means [IsTableflip]. It counts as ready, and has taken over for itself, when it
// calls tableflip's Ready; HealthCheck and Probation still are before this generation's
// own commit. It can ask for no more than Options.ReadyTimeout. It works on Linux; elsewhere the
// upgrade fails with [handoff.ErrUnsupported], because what starts that server has to be
// this very program, whose file has been replaced.
//
// tableflip allows one Upgrader a process: in one that was started by tableflip, New
// of that package must not be called as well.
func NewHandoff(opts handoff.Options, isTableflip func(path string) bool) (*handoff.Upgrader, error) {
	p, err := predecessor()
	if err != nil {
		return nil, err
	}
	if isTableflip == nil {
		isTableflip = IsTableflip
	}
	up, err := foreign.New(opts, foreign.Peer{Predecessor: p, GoBetween: goBetween(isTableflip)})
	if err != nil {
		return nil, err
	}
	return up.(*handoff.Upgrader), nil
}

// IsTableflip tells whether the Go program at path uses tableflip and not this module,
// by the build information that the go command puts into it (debug/buildinfo). It is
// false where there is none: for scripts, for programs that are no Go programs, and for
// those that had it removed. A tableflip server that is started as if it
// were none finds its address in use and ends; then the upgrade has failed and nothing
// has changed.
func IsTableflip(path string) bool {
	info, err := buildinfo.ReadFile(path)
	if err != nil || info.Main.Path == handoffModule {
		return false
	}
	found := false
	for _, dep := range info.Deps {
		switch dep.Path {
		case handoffModule:
			return false
		case tableflipModule:
			found = true
		}
	}
	return found
}

// variable tells a process that it is a go-between, and for how long to wait.
const variable = "HANDOFF_TABLEFLIP"

// goBetween is foreign.Peer.GoBetween.
//
// Why a go-between, and not this process: tableflip's Upgrader never forgets a
// descriptor, so that after an upgrade that failed a listener that the program closes
// would go on to listen; and it doesn't tell the pid of what it starts.
func goBetween(isTableflip func(string) bool) func(*exec.Cmd, time.Duration) (bool, error) {
	return func(cmd *exec.Cmd, timeout time.Duration) (bool, error) {
		path := cmd.Path
		if !filepath.IsAbs(path) {
			path = filepath.Join(cmd.Dir, path)
		}
		if !isTableflip(path) {
			return false, nil
		}
		if runtime.GOOS != "linux" {
			return false, fmt.Errorf("%w: %s is a tableflip server, and those can be started on Linux only", handoff.ErrUnsupported, path)
		}
		args := []string{path} // which is what tableflip executes
		if len(cmd.Args) > 1 {
			args = append(args, cmd.Args[1:]...)
		}
		cmd.Path, cmd.Args = "/proc/self/exe", args
		cmd.Env = append(cmd.Env, variable+"="+timeout.String())
		return true, nil
	}
}
