//go:build linux

package run

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// A supervisor watches the pid of what it has started, and can't be told of another one.
type supervisor struct {
	// start sets up a directory, with what docs/containers.md says, and returns the command
	// of the supervisor itself.
	start func(t *testing.T, dir, text string) *exec.Cmd
	pid   []string // the command that prints the holder's pid, the last word but for brackets
	hup   []string
	usr2  []string
	stop  []string // waits until it is down
}

// DIR in a command is the directory of start.
var supervisors = map[string]supervisor{
	"runit": {
		start: serviceDirectory("runsv", "runit"),
		pid:   []string{"sh", "-c", `sv status DIR/app | sed 's/.*(pid \([0-9]*\)).*/\1/'`},
		hup:   []string{"sv", "hup", "DIR/app"},
		usr2:  []string{"sv", "2", "DIR/app"},
		stop:  []string{"sv", "-w", "25", "stop", "DIR/app"},
	},
	"s6": {
		start: serviceDirectory("s6-supervise", "s6"),
		pid:   []string{"s6-svstat", "-o", "pid", "DIR/app"},
		hup:   []string{"s6-svc", "-h", "DIR/app"},
		usr2:  []string{"s6-svc", "-2", "DIR/app"},
		stop:  []string{"s6-svc", "-wd", "-d", "DIR/app"},
	},
	"supervisord": {
		start: supervisordConfig,
		pid:   []string{"supervisorctl", "-c", "DIR/conf", "pid", "app"},
		hup:   []string{"supervisorctl", "-c", "DIR/conf", "signal", "HUP", "app"},
		usr2:  []string{"supervisorctl", "-c", "DIR/conf", "signal", "USR2", "app"},
		stop:  []string{"supervisorctl", "-c", "DIR/conf", "stop", "app"},
	},
}

// documented is the first block of the section of docs/containers.md, for a socket and a
// program of the test's own.
func documented(t *testing.T, section, language string, replace ...string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/containers.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "\n## "+section+"\n")
	_, text, _ = strings.Cut(text, "```"+language+"\n")
	text, _, ok := strings.Cut(text, "```")
	if !ok {
		t.Fatalf("docs/containers.md has no block of %s in its section %s", language, section)
	}
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			t.Fatalf("docs/containers.md has no %q in its section %s:\n%s", replace[i], section, text)
		}
	}
	return strings.NewReplacer(replace...).Replace(text)
}

// serviceDirectory is for those that run a file run, and log to their own output.
func serviceDirectory(program, section string) func(*testing.T, string, string) *exec.Cmd {
	return func(t *testing.T, dir, text string) *exec.Cmd {
		app := filepath.Join(dir, "app")
		if err := os.Mkdir(app, 0o755); err != nil {
			t.Fatal(err)
		}
		// By a rename: another test's fork may have the file open, and it can't be executed then.
		write(t, filepath.Join(dir, "run"), text)
		install(t, filepath.Join(dir, "run"), filepath.Join(app, "run"))
		return proctest.Command(proctest.RequireTool(t, program), app)
	}
}

func supervisordConfig(t *testing.T, dir, text string) *exec.Cmd {
	config := filepath.Join(dir, "conf")
	write(t, config, strings.ReplaceAll(`[supervisord]
logfile=DIR/log
pidfile=DIR/pid
childlogdir=DIR
nodaemon=true
[unix_http_server]
file=DIR/s
[supervisorctl]
serverurl=unix://DIR/s
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
`, "DIR", dir)+text+"stdout_logfile="+dir+"/app.log\n")
	return proctest.Command(proctest.RequireTool(t, "supervisord"), "-c", config)
}

// supervised is a holder that a supervisor has started.
type supervised struct {
	*holder
	by  supervisor
	dir string
}

// run calls one of the supervisor's own commands.
func (s *supervised) run(words []string) (string, error) {
	var args []string
	for _, word := range words {
		args = append(args, strings.ReplaceAll(word, "DIR", s.dir))
	}
	cmd := exec.CommandContext(proctest.Context(s.t), args[0], args[1:]...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%q: %w: %s", args, err, out)
	}
	return strings.TrimSpace(string(out)), err
}

func (s *supervised) do(words []string) string {
	s.t.Helper()
	out, err := s.run(words)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// log is what the holder has written, to wherever the supervisor puts it.
func (s *supervised) log() string {
	if text, err := os.ReadFile(filepath.Join(s.dir, "app.log")); err == nil {
		return string(text)
	}
	return s.Output()
}

// says waits for a line of the holder's.
func (s *supervised) says(text string) {
	s.t.Helper()
	s.Until(fmt.Sprintf("the line %q", text), func() error {
		if log := s.log(); !strings.Contains(log, text) {
			return errors.New(log)
		}
		return nil
	})
}

func (s *supervised) holderPID() int {
	s.t.Helper()
	pid, err := strconv.Atoi(s.do(s.by.pid))
	if err != nil || pid == 0 {
		s.t.Fatalf("%q: %d, %v", s.by.pid, pid, err)
	}
	return pid
}

func supervise(t *testing.T, section string, by supervisor) *supervised {
	t.Helper()
	for _, words := range [][]string{by.hup, by.pid} {
		proctest.RequireTool(t, words[0])
	}
	dir := shortDir(t)
	command := filepath.Join(dir, "bin", "handoff")
	if err := os.Mkdir(filepath.Dir(command), 0o755); err != nil {
		t.Fatal(err)
	}
	install(t, handoffCommand(t), command)
	program := proctest.Build(t, proctest.Program{Package: "github.com/handoff-dev/handoff/examples/graceful"})
	addr := "127.0.0.1:" + strconv.Itoa(proctest.FreePort(t))
	language := "sh"
	if section == "supervisord" {
		language = "ini"
	}
	text := documented(t, section, language, "/usr/bin/handoff", command, "/usr/bin/app", program, "http=:8080", "http="+addr)
	cmd := by.start(t, dir, text)
	cmd.Env = append(cmd.Env, "XDG_RUNTIME_DIR="+dir, "RUNTIME_DIRECTORY=")
	s := &supervised{holder: start(t, cmd, addr), by: by, dir: dir}
	s.says("generation 1")
	s.says(") serves")
	return s
}

func TestUnderASupervisorTheProgramIsSwappedByItsOwnCommand(t *testing.T) {
	t.Parallel()
	for name, by := range supervisors {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := supervise(t, name, by)
			pid := s.holderPID()
			g := s.load(load.NewConn(), load.KeepAlive(), load.SlowPost(loadThink/10))
			for generation := 2; generation <= 4; generation++ {
				s.do(by.hup)
				s.says(fmt.Sprintf("generation %d serves, after", generation))
			}
			before := inode(t, pid)
			install(t, handoffCommand(t), filepath.Join(s.dir, "bin", "handoff"))
			s.do(by.usr2)
			s.says("the holder has upgraded itself")
			if inode(t, pid) == before {
				t.Error("the holder runs the same file")
			}
			s.do(by.hup)
			s.says("generation 5 serves, after")
			lossless(t, g.Stop())
			if now := s.holderPID(); now != pid {
				t.Errorf("the supervisor watches process %d, and watched %d", now, pid)
			}
			s.stopsGracefully(pid)
		})
	}
}

// stopsGracefully stops the service by the supervisor's command while a request is on its way, and then the
// supervisor.
func (s *supervised) stopsGracefully(pid int) {
	s.t.Helper()
	finish := s.begin()
	stopped := make(chan error, 1)
	go func() {
		_, err := s.run(s.by.stop)
		stopped <- err
	}()
	s.says("SIGTERM: stopping")
	finish()
	if err := <-stopped; err != nil {
		s.t.Error(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		s.t.Errorf("the holder is still there: %v", err)
	}
	s.says("has ended: exit status 0")
	if conn, err := net.Dial("tcp", s.addr); err == nil {
		conn.Close()
		s.t.Error("somebody still listens")
	}
	if left, err := filepath.Glob(filepath.Join(s.dir, "handoff", "run-*")); len(left) > 0 {
		s.t.Errorf("left behind: %q, %v", left, err)
	}
	s.Process.Stop(syscall.SIGTERM) // a process that is left fails the test
}
