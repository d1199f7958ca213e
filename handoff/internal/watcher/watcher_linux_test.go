package watcher

import (
	"os"
	"slices"
	"testing"
)

type fake struct {
	all  []process
	args map[int][]string
	top  bool
}

func (f fake) process(pid int) (process, error) {
	for _, p := range f.all {
		if p.pid == pid {
			return p, nil
		}
	}
	return process{}, os.ErrNotExist
}
func (f fake) arguments(pid int) []string { return f.args[pid] }
func (f fake) children(pid int) []process {
	return slices.DeleteFunc(slices.Clone(f.all), func(p process) bool { return p.parent != pid })
}
func (f fake) machine() bool { return f.top }

func TestWhoWatchesIsFoundAndNobodyElseIsTakenForIt(t *testing.T) {
	t.Parallel()
	one := func(name string, terminal int) process {
		return process{pid: 1, group: 1, session: 1, terminal: terminal, start: 1, name: name}
	}
	app := func(parent, group, session int, start uint64) process {
		return process{pid: 9, parent: parent, group: group, session: session, start: start, name: "app"}
	}
	main := process{pid: 2, parent: 1, group: 2, session: 1, start: 2, name: "other"}
	shell := process{pid: 3, parent: 1, group: 3, session: 1, start: 3, name: "sh"}
	for name, c := range map[string]struct {
		fake
		held, want bool
	}{
		"tini as PID 1":                     {fake{all: []process{one("tini", 0), app(1, 9, 1, 2)}}, false, true},
		"dumb-init, a session of its own":   {fake{all: []process{one("dumb-init", 0), app(1, 9, 9, 2)}}, false, true},
		"an init nobody knows":              {fake{all: []process{one("my-init", 0), app(1, 1, 1, 2)}}, false, true},
		"a shell's script as PID 1":         {fake{all: []process{one("sh", 0), app(1, 1, 1, 2)}}, false, true},
		"a shell between":                   {fake{all: []process{one("tini", 0), shell, app(3, 3, 1, 4)}}, false, true},
		"tini on a machine":                 {fake{top: true, all: []process{one("init", 0), {pid: 5, parent: 1, start: 5, name: "tini"}, app(5, 9, 5, 6)}}, false, true},
		"runit on a machine":                {fake{top: true, all: []process{one("init", 0), {pid: 5, parent: 1, name: "runsv"}, app(5, 9, 5, 6)}}, false, true},
		"s6 in a container":                 {fake{all: []process{one("s6-svscan", 0), {pid: 5, parent: 1, name: "s6-supervise"}, app(5, 9, 9, 6)}}, false, true},
		"supervisord of Python":             {fake{top: true, args: map[int][]string{5: {"python3", "-u", "/usr/bin/supervisord", "-n"}}, all: []process{one("init", 0), {pid: 5, parent: 1, name: "python3"}, app(5, 9, 5, 6)}}, false, true},
		"another program of Python":         {fake{top: true, args: map[int][]string{5: {"python3", "test.py"}}, all: []process{one("init", 0), {pid: 5, parent: 1, name: "python3"}, app(5, 9, 5, 6)}}, false, false},
		"supervisord as PID 1":              {fake{all: []process{one("supervisord", 0), app(1, 9, 1, 6)}}, false, true},
		"adopted by supervisord":            {fake{all: []process{one("supervisord", 0), app(1, 9, 9, 6)}}, false, false},
		"docker exec, then nohup or setsid": {fake{all: []process{one("tini", 0), main, app(1, 9, 9, 7)}}, false, false},
		"docker exec":                       {fake{all: []process{one("tini", 0), main, app(0, 9, 9, 7)}}, false, false},
		"a shell with job control as PID 1": {fake{all: []process{one("bash", 34816), app(1, 9, 1, 7)}}, false, false},
		"that shell under tini":             {fake{all: []process{one("tini", 34816), {pid: 3, parent: 1, group: 3, session: 1, terminal: 34816, start: 2, name: "bash"}, app(3, 9, 1, 7)}}, false, false},
		"handoff run as PID 1":              {fake{all: []process{one("handoff", 0), app(1, 9, 1, 2)}}, true, false},
		"systemd in a container":            {fake{all: []process{one("systemd", 0), app(1, 9, 9, 2)}}, false, false},
		"a plain machine, orphaned":         {fake{top: true, all: []process{one("init", 0), app(1, 9, 9, 2)}}, false, false},
		"a terminal":                        {fake{top: true, all: []process{one("init", 0), {pid: 5, parent: 1, group: 5, session: 5, terminal: 34817, name: "zsh"}, app(5, 9, 5, 6)}}, false, false},
		"a program that is no watcher":      {fake{top: true, all: []process{one("init", 0), {pid: 5, parent: 1, name: "deploy"}, app(5, 9, 5, 6)}}, false, false},
	} {
		if by, got := find(c.fake, 9, c.held); got != c.want {
			t.Errorf("%s: %q, %v, want %v", name, by, got, c.want)
		}
	}
}

func TestThisProcessIsReadAsItIs(t *testing.T) {
	t.Parallel()
	p, err := procfs{}.process(os.Getpid())
	if err != nil || p.parent != os.Getppid() || p.start == 0 || p.name == "" {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := parseStat(7, []byte("7 (app S 1")); err == nil {
		t.Error("junk is read")
	}
}
