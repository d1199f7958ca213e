package unit

import (
	"fmt"
	"strings"
)

func service(o Options, groups []*sockets) (string, error) {
	var t text
	t.heading(o, groups)
	t.line("")
	t.line("[Unit]")
	t.quoted("Description", o.Description)
	t.line("")
	t.line("[Service]")
	t.kind(o)
	t.line("")
	t.set("NotifyAccess", "main",
		"The main process speaks for the service. It is the old generation that announces the new",
		"one as the main process. Under \"all\" every child could speak, under \"none\" nobody.")
	t.line("")
	t.command(o)
	t.directory(o)
	if !o.NotifyReload {
		t.line("")
		t.reload(o)
	}
	t.user(o)
	t.line("")
	t.set("KillMode", "control-group",
		"A stop is for all generations, those that still drain too. Under \"process\" they would be",
		"left behind, under \"mixed\" killed with their requests.")
	t.set("TimeoutStopSec", seconds(o.Drain+margin),
		fmt.Sprintf("Connections have %s to end. Whoever is left after this time is killed.", seconds(o.Drain)))
	t.line("")
	t.set("Restart", "on-failure",
		"A crash starts the service anew. A generation that has handed over exits with 0, and is not",
		"the main process any more: that is no reason to restart.")
	t.line("")
	t.set("FileDescriptorStoreMax", "16",
		"What the program gives systemd to keep over a restart or a crash. With 0 it would be dropped",
		"without a word.")
	if len(groups) > 0 {
		t.line("")
		t.set("Sockets", strings.Join(unitNames(groups), " "),
			"The sockets are systemd's: they are there before the service, and stay over its restarts.")
	}
	t.line("")
	t.line("# Not here: PIDFile= (systemd is told by message), PrivatePIDs= (the first process could not")
	t.line("# leave), ExitType=cgroup (a crash would go unnoticed while an old generation drains).")
	t.line("")
	t.line("[Install]")
	t.set("WantedBy", "multi-user.target")
	if len(groups) > 0 {
		t.set("Also", strings.Join(unitNames(groups), " "))
	}
	return t.result()
}

func (t *text) heading(o Options, groups []*sockets) {
	version := ""
	if o.Systemd != 0 {
		version = fmt.Sprintf(" (systemd %d)", o.Systemd)
	}
	t.line("# A service that replaces itself by its next version without losing a request" + version + ".")
	if o.Systemd != 0 && o.Systemd < Oldest {
		t.line(fmt.Sprintf("# It is tested with systemd %d and later.", Oldest))
	}
	t.line("#")
	t.line("#   install:  put the unit files into /etc/systemd/system, then")
	t.line("#             systemctl daemon-reload && systemctl enable --now " + strings.Join(append(unitNames(groups), o.Name+".service"), " "))
	t.line("#   upgrade:  replace the program's file by a rename, then systemctl reload " + o.Name)
	t.line("#   examine:  handoff doctor " + o.Name)
}

func (t *text) kind(o Options) {
	if !o.NotifyReload {
		t.set("Type", "notify",
			"The program says when it is ready, and which process is the main one after an upgrade.",
			"Under \"simple\" or \"exec\" nobody would listen by default, and no upgrade be possible.")
		return
	}
	t.set("Type", "notify-reload",
		"The program says when it is ready, and which process is the main one after an upgrade.",
		"systemctl reload upgrades: systemd sends the signal itself and waits until the program says",
		"that it is done. ExecReload= with it would start a second upgrade.")
	t.set("ReloadSignal", "SIGHUP")
	t.set("TimeoutStartSec", seconds(beforeReady), "How long a start, and a reload, may take: longer than a new generation may until it is ready.")
}

func (t *text) reload(o Options) {
	if o.Command == "" {
		t.set("ExecReload", "/bin/kill -HUP $MAINPID",
			"systemctl reload upgrades. It returns when the signal is sent; whether the upgrade",
			"succeeds is told by the journal and systemctl status. If it fails the old generation goes on.")
		return
	}
	path, err := program(o.Command)
	if t.err == nil {
		t.err = err
	}
	t.set("ExecReload", path+" upgrade --wait --pid $MAINPID",
		"systemctl reload upgrades, and returns when that is done. If it fails, systemctl reload does,",
		"and the old generation goes on.")
}

func (t *text) command(o Options) {
	words := make([]string, 0, 1+len(o.Args))
	path, err := program(o.Program)
	words = append(words, path)
	for _, a := range o.Args {
		word, aerr := argument(a)
		if err == nil {
			err = aerr
		}
		words = append(words, word)
	}
	if t.err == nil {
		t.err = err
	}
	t.set("ExecStart", strings.Join(words, " "),
		"An upgrade starts what is at this path at that moment, with these arguments. No shell around",
		"it: the main process has to be the server. New arguments want systemctl restart.")
}

func (t *text) directory(o Options) {
	if o.Directory == "" {
		return
	}
	t.line("")
	t.quoted("WorkingDirectory", o.Directory,
		"If this is a symbolic link, and it is moved, an upgrade follows it. The program learns of the",
		"link by PWD alone, which systemd does not set.")
	t.set("Environment", assignment("PWD", o.Directory))
}

func (t *text) user(o Options) {
	t.line("")
	if o.User == "" {
		t.line("# The service runs as root. Better is a user of its own: User=")
		return
	}
	t.set("User", o.User)
}
