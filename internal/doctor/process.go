package doctor

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// wrappers are programs that start another and stay. Others, such as env and nice,
// become it.
var wrappers = []string{
	"sh", "bash", "dash", "ash", "zsh", "ksh", "fish", "busybox", "sudo", "su", "runuser", "timeout", "flock", "script",
	"tini", "dumb-init", "catatonit", "s6-svscan", "runsv", "supervisord", "daemonize", "watchexec", "strace", "npm", "docker", "podman", "conmon",
}

// checkWrapper looks for a main process that isn't the server.
func checkWrapper(r *report) {
	const mend = "Name the program itself in ExecStart=, or begin the wrapper's last command with exec."
	if p := r.Process; p != nil {
		for _, child := range p.Children {
			// Without rights to see sockets there is the name to go by.
			serves := p.Listening == 0 && child.Listening > 0
			if slices.Contains(wrappers, p.Name) || serves {
				r.add(Error, "wrapper",
					fmt.Sprintf("The main process, %d, is %s, and the server its child %s: systemd drops the server's messages, and a reload signals the wrapper.", p.PID, p.Name, child.Name),
					mend)
				return
			}
		}
		return
	}
	for _, start := range r.Service["ExecStart"] {
		c := parseCommand(start)
		words := strings.Fields(c.args)
		name := path.Base(c.path)
		if !slices.Contains(wrappers, name) {
			continue
		}
		if i := slices.Index(words, "-c"); i > 0 && i+1 < len(words) && words[i+1] == "exec" && !strings.ContainsAny(c.args, ";|&\n") {
			continue
		}
		r.add(Warning, "wrapper-command",
			"ExecStart= runs "+name+"; if that stays the main process, systemd drops the server's messages, and a reload signals the wrapper.",
			mend)
	}
}

// checkAlien looks for a main process that isn't systemd's own child. When its
// parent has ended it becomes one, but systemd does not look again, and nobody else
// can tell any more.
func checkAlien(r *report) {
	p := r.Process
	if p == nil || p.Parent <= 1 || p.ParentName == "systemd" || r.get("PrivatePIDs") == "yes" {
		return
	}
	r.add(Error, "alien-main",
		fmt.Sprintf("The main process, %d, is a child of %d (%s) and not of systemd, so a stop kills it at once instead of letting it drain, and a crash goes unnoticed while its parent lives.", p.PID, p.Parent, p.ParentName),
		"Restart the service in a quiet hour, and see to it that the program starts its successor as its own sibling (CLONE_PARENT, see clone(2)).")
}

func checkEnvironment(r *report) {
	p := r.Process
	if p == nil {
		return
	}
	if p.Env == nil {
		r.add(Note, "process-unreadable",
			fmt.Sprintf("The main process, %d, belongs to somebody else, so that only the unit was examined.", p.PID),
			"Run handoff doctor as root.")
		return
	}
	if p.Env["NOTIFY_SOCKET"] == "" && r.get("NotifyAccess") != "none" {
		r.add(Error, "notify-socket-absent",
			fmt.Sprintf("The main process, %d, was started without NOTIFY_SOCKET, so it can't tell systemd of a successor, and the service ends with it.", p.PID),
			"Restart the service once; if it was started with these settings, see to it that nothing takes the variable away.")
	}
	if pid, set := p.Env["WATCHDOG_PID"]; set && p.Env["WATCHDOG_USEC"] != "" && p.isNot(pid) {
		r.add(Error, "watchdog-pid",
			fmt.Sprintf("The main process, %d, was started with WATCHDOG_PID=%s, so it takes the watchdog for another's, sends nothing, and is killed after WatchdogSec=.", p.PID, pid),
			"Have the program's successor started with its own pid in WATCHDOG_PID, as package handoff does.")
	}
	if pid, set := p.Env["LISTEN_PID"]; set && p.Env["LISTEN_FDS"] != "" && p.isNot(pid) {
		r.add(Error, "listen-pid",
			fmt.Sprintf("The main process, %d, was started with LISTEN_PID=%s, so it takes its sockets for another's, and most programs open new ones without a word.", p.PID, pid),
			"Have nothing between systemd and the program that starts it as a child, and successors started as package handoff does.")
	}
	if id := p.Env["LISTEN_PIDFDID"]; id != "" && p.Env["LISTEN_FDS"] != "" && p.PIDFDID != "" && id != p.PIDFDID {
		r.add(Error, "listen-pidfdid",
			fmt.Sprintf("The main process, %d, was started with LISTEN_PIDFDID=%s and its own number is %s, so that by systemd's library, 259 and later, it gets no sockets.", p.PID, id, p.PIDFDID),
			"Have its starter set the variable to the number of the new process or take it away, as package handoff does.")
	}
}

// isNot tells that a variable names another process.
func (p *Process) isNot(pid string) bool {
	return pid != "" && pid != strconv.Itoa(p.PID) && pid != strconv.Itoa(p.InnerPID)
}

func checkPrivileges(r *report) {
	if p := r.Process; p != nil && p.UID > 0 && r.Service.Has("User") && r.get("User") == "" && !r.UserManager {
		r.add(Note, "privileges-dropped",
			fmt.Sprintf("The main process, %d, has given up root for user %d, and its successors start as that: they inherit the sockets, but can't read what only root can.", p.PID, p.UID),
			"Let that user read what a start needs, or set User= and have the sockets opened by .socket units.")
	}
}
