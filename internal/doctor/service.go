package doctor

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

const serveNotify = "Set Type=notify."

func checkType(r *report) {
	switch kind := r.get("Type"); kind {
	case "simple", "exec", "idle":
		if r.Systemd != 0 && r.Systemd < 253 && r.Written["Type"] == "notify-reload" {
			r.add(Error, "notify-reload-unknown",
				fmt.Sprintf("systemd %d doesn't know Type=notify-reload, ignores the line and takes the service for one of Type=%s.", r.Systemd, kind),
				"Set Type=notify and ExecReload=/bin/kill -HUP $MAINPID, or update systemd to 253.")
			return
		}
		r.add(Warning, "type-"+kind,
			"With Type="+kind+" systemd takes the service for ready before it listens, so a start that fails later counts as done.",
			serveNotify)
	case "forking":
		r.add(Error, "type-forking",
			"With Type=forking systemd waits for the first process to end, and ends the service when it does not.",
			serveNotify)
	case "oneshot":
		r.add(Error, "type-oneshot",
			"With Type=oneshot a start lasts until the program ends, so the service never counts as running and can't be reloaded.",
			serveNotify)
	case "dbus":
		r.add(Error, "type-dbus",
			"With Type=dbus systemd stops the service when the old generation gives up its bus name.",
			serveNotify)
	}
}

func checkNotifyAccess(r *report) {
	switch r.get("NotifyAccess") {
	case "none":
		r.add(Error, "notify-access-none",
			"With NotifyAccess=none systemd never learns of a new main process and would end the service with the old one, so that an upgrade is refused, or ends it.",
			"Set Type=notify and NotifyAccess=main.")
	case "all":
		r.add(Warning, "notify-access-all",
			"With NotifyAccess=all a STOPPING=1 from an old generation that drains has systemd kill the new one after TimeoutStopSec=.",
			"Set NotifyAccess=main.")
	}
}

// checkMainProcessSettings is about what systemd takes for the main process.
func checkMainProcessSettings(r *report) {
	if file := r.get("PIDFile"); file != "" {
		r.add(Warning, "pid-file",
			"With PIDFile="+file+" systemd reads the main process from it after each reload, whatever the hand-over has said, and removes the file at a stop.",
			"Delete PIDFile=; a file for others the program can write itself, at another path.")
	}
	if r.get("PrivatePIDs") == "yes" {
		r.add(Error, "private-pids",
			"With PrivatePIDs=yes the first generation is the first process of a namespace: systemd can't follow to another, and all end with it.",
			"Set PrivatePIDs=no.")
	}
	if r.get("ExitType") == "cgroup" {
		r.add(Warning, "exit-type-cgroup",
			"With ExitType=cgroup systemd doesn't notice a crash of the new generation while an old one drains.",
			"Set ExitType=main.")
	}
	if r.get("RemainAfterExit") == "yes" {
		r.add(Warning, "remain-after-exit",
			"With RemainAfterExit=yes the service counts as running after all of its processes have ended.",
			"Set RemainAfterExit=no.")
	}
}

func checkReload(r *report) {
	notifyReload := r.get("Type") == "notify-reload"
	reloads := r.Service["ExecReload"]
	reloads = slices.DeleteFunc(slices.Clone(reloads), func(s string) bool { return s == "" })
	switch {
	case notifyReload && len(reloads) > 0:
		r.add(Error, "exec-reload-twice",
			"With Type=notify-reload systemd sends the signal itself after ExecReload= has run, so that a second upgrade follows.",
			"Delete ExecReload=, or set Type=notify.")
	case !notifyReload && len(reloads) == 0:
		r.add(Warning, "exec-reload-missing",
			"Without ExecReload= there is no systemctl reload to upgrade by.",
			"Set ExecReload=/bin/kill -HUP $MAINPID.")
	}
	if s := r.get("ReloadSignal"); notifyReload && s != "" && s != "1" {
		r.add(Warning, "reload-signal",
			"With ReloadSignal= at signal "+s+" a reload starts no upgrade in a program that waits for SIGHUP.",
			"Set ReloadSignal=SIGHUP, or have the program upgrade on this signal.")
	}
	for _, reload := range reloads {
		if name := path.Base(parseCommand(reload).path); name == "pkill" || name == "killall" {
			r.add(Warning, "exec-reload-all",
				"ExecReload= runs "+name+", which signals the generations that drain too, and each signal is an upgrade.",
				"Set ExecReload=/bin/kill -HUP $MAINPID.")
		}
	}
}

// untilHandover is how long an upgrade may take with package handoff's settings: a
// minute until the successor is ready, and a second on probation.
const untilHandover = 61 * time.Second

func checkReloadTime(r *report) {
	waits := r.get("Type") == "notify-reload"
	for _, reload := range r.Service["ExecReload"] {
		waits = waits || strings.Contains(reload, "--wait")
	}
	if limit, ok := parseSpan(r.get("TimeoutStartUSec")); ok && waits && limit < untilHandover {
		r.add(Warning, "reload-timeout",
			fmt.Sprintf("With TimeoutStartSec=%s systemd gives up a reload before a successor has had the minute it may take.", span(limit)),
			"Set TimeoutStartSec=90s.")
	}
}

// checkReloadSight is about a reload that can't see the main process: each process that
// systemd starts with PrivateUsers= has a user namespace of its own.
func checkReloadSight(r *report) {
	if p := r.get("PrivateUsers"); p == "" || p == "no" {
		return
	}
	for i, reload := range r.Service["ExecReload"] {
		c := parseCommand(reload)
		words := strings.Fields(c.args)
		if path.Base(c.path) != "handoff" || !slices.Contains(words, "upgrade") ||
			slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, "--socket") }) {
			continue
		}
		// "privileged" is the prefix +, which leaves PrivateUsers= out.
		if ex := r.Service["ExecReloadEx"]; i < len(ex) && strings.Contains(ex[i], "flags=") && strings.Contains(ex[i], "privileged") {
			continue
		}
		r.add(Error, "exec-reload-blind",
			"With PrivateUsers= the handoff upgrade of ExecReload= can't see the main process, so each reload fails.",
			"Give the service a control socket at a path (Options.Control; handoff run --control) and set ExecReload=handoff upgrade --socket PATH, or set PrivateUsers=no.")
	}
}

func checkKill(r *report) {
	const mend = "Set KillMode=control-group."
	switch r.get("KillMode") {
	case "process":
		r.add(Error, "kill-mode-process",
			"With KillMode=process a stop ends the newest generation only, and older ones that drain run on without anyone's knowledge.", mend)
	case "mixed":
		r.add(Error, "kill-mode-mixed",
			"With KillMode=mixed a stop kills the generations that drain, with their requests, as soon as the newest has ended.", mend)
	case "none":
		r.add(Error, "kill-mode-none",
			"With KillMode=none a stop ends no process, and the next start finds the sockets taken.", mend)
	}
	if s := r.get("KillSignal"); s != "" && s != "15" && s != "2" {
		r.add(Warning, "kill-signal",
			"With KillSignal= at signal "+s+" a stop is not by SIGTERM or SIGINT, the signals on which a program drains.",
			"Set KillSignal=SIGTERM, or have the program stop on this signal.")
	}
	if r.get("SendSIGHUP") == "yes" {
		r.add(Error, "send-sighup",
			"With SendSIGHUP=yes a stop sends SIGHUP too, which starts an upgrade in the middle of it.",
			"Set SendSIGHUP=no.")
	}
}

func checkStopTime(r *report) {
	limit, ok := parseSpan(r.get("TimeoutStopUSec"))
	if !ok || limit > r.Drain {
		return
	}
	r.add(Warning, "stop-timeout",
		fmt.Sprintf("With TimeoutStopSec=%s a stop kills connections that may take %s to end.", span(limit), span(r.Drain)),
		fmt.Sprintf("Set TimeoutStopSec=%s, or have the program drain for a shorter time.", span(r.Drain+15*time.Second)))
}

func checkRestart(r *report) {
	switch v := r.get("Restart"); v {
	case "no", "on-success":
		r.add(Warning, "restart-"+v,
			"With Restart="+v+" nothing starts the service again when a new version crashes after the hand-over.",
			"Set Restart=on-failure.")
	case "on-abnormal", "on-abort", "on-watchdog":
		r.add(Warning, "restart-"+v,
			"With Restart="+v+" nothing starts the service again when a new version exits with an error after the hand-over.",
			"Set Restart=on-failure.")
	}
	if v := r.get("RestartMode"); v != "" && v != "normal" {
		r.add(Note, "restart-mode",
			"With RestartMode="+v+" a restart after a crash is not like any other start: see systemd.service(5).",
			"Set RestartMode=normal if you have no need for it.")
	}
}

func checkStore(r *report) {
	if r.get("FileDescriptorStoreMax") == "0" {
		severity, what := Warning, "With FileDescriptorStoreMax=0 sockets that the program opened itself are gone after a crash, and those that connect then are refused."
		if len(r.Sockets) > 0 {
			severity, what = Note, "With FileDescriptorStoreMax=0 systemd drops without a word what the program gives it to keep over a crash; the sockets of socket units stay."
		}
		r.add(severity, "fd-store-none", what, "Set FileDescriptorStoreMax=16.")
		return
	}
	if r.get("FileDescriptorStorePreserve") == "no" {
		r.add(Warning, "fd-store-dropped",
			"With FileDescriptorStorePreserve=no systemd drops what the program gave it to keep, when it restarts the service.",
			"Set FileDescriptorStorePreserve=restart.")
	}
}

func checkWatchdog(r *report) {
	d, _ := parseSpan(r.get("WatchdogUSec"))
	if d == 0 || d == forever { // as it is while the service does not run
		d, _ = parseSpan(r.Written["WatchdogSec"])
	}
	if d > 0 && d != forever {
		r.add(Note, "watchdog",
			"With WatchdogSec="+span(d)+" systemd kills a main process that sends no WATCHDOG=1 for so long, and after an upgrade that is the new one.",
			"See to it that the program sends them, in each generation from the hand-over on.")
	}
}

func checkMemory(r *report) {
	if v := r.get("MemoryMax"); v != "" && v != "infinity" && r.get("OOMPolicy") == "stop" {
		r.add(Note, "memory-limit",
			"All generations share MemoryMax=, and with OOMPolicy=stop the service ends when one that drains is killed for memory.",
			"Leave place for two generations, or set OOMPolicy=continue.")
	}
}
