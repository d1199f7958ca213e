// Package doctor finds what in a systemd unit will break an upgrade.
//
// [Read] gathers the facts from systemd and /proc, [Examine] judges them and looks
// at nothing else.
package doctor

import (
	"fmt"
	"time"

	"github.com/handoff-dev/handoff/internal/systemctl"
)

// Severity says how bad a finding is.
type Severity string

const (
	// Error: an upgrade, or the stop of an upgraded service, goes wrong.
	Error Severity = "error"
	// Warning: it goes wrong in some circumstances.
	Warning Severity = "warning"
	// Note: nothing is wrong, but it is good to know.
	Note Severity = "note"
)

// Finding is one thing that is wrong with a unit.
type Finding struct {
	// ID never changes its meaning.
	ID       string   `json:"id"`
	Severity Severity `json:"severity"`
	// What happens, in one sentence.
	What string `json:"what"`
	// Mend says what to do about it, in one sentence.
	Mend string `json:"mend"`
}

// Facts are what is known about a service.
type Facts struct {
	Unit string
	// Systemd is the manager's version, 0 if unknown.
	Systemd int
	// UserManager says that the unit is of a user's own systemd.
	UserManager bool
	// Drain is how long the program lets connections end.
	Drain time.Duration
	// Service are the unit's properties, see [ServiceProperties].
	Service systemctl.Properties
	// Written are the settings of [Service] in the unit's files, of which this
	// systemd may ignore some. A setting has its last value.
	Written map[string]string
	// Sockets are the properties of the .socket units that start the service, see
	// [SocketProperties].
	Sockets []systemctl.Properties
	// Process is the main process, nil if there is none.
	Process *Process
	// LinkedDirectory says that a symbolic link leads to WorkingDirectory=.
	LinkedDirectory bool
	// Changed says in what the main process differs from ExecStart=, see
	// [System.ChangedCommand].
	Changed string
	// Absent are the settings whose program does not exist, with its path.
	Absent map[string]string
}

// Process is what /proc knows of a process. What may not be read is missing.
type Process struct {
	PID        int
	InnerPID   int    // as the process sees it
	PIDFDID    string // the number of its pidfd; "": unknown
	Parent     int
	ParentName string
	Name       string
	UID        int               // -1: unknown
	Env        map[string]string // at its start; nil: unknown
	Listening  int               // sockets that it has open and that listen; -1: unknown
	NoProc     bool              // it sees no /proc
	GoneDir    string            // its working directory, if that was removed
	Children   []Process
}

// ServiceProperties are the properties of a service that matter here.
var ServiceProperties = []string{
	"Id", "LoadState", "LoadError", "ActiveState", "MainPID", "FragmentPath", "DropInPaths", "NeedDaemonReload", "TriggeredBy",
	"Type", "NotifyAccess", "PIDFile", "PrivatePIDs", "ExitType", "RemainAfterExit",
	"KillMode", "KillSignal", "SendSIGHUP", "TimeoutStopUSec", "TimeoutStartUSec",
	"ExecStart", "ExecReload", "ExecReloadEx", "PrivateUsers", "ReloadSignal", "Restart", "RestartMode", "WatchdogUSec",
	"FileDescriptorStoreMax", "FileDescriptorStorePreserve", "MemoryMax", "OOMPolicy", "User", "WorkingDirectory", "Environment",
	"RootDirectory", "RootImage", "RootDirectoryStartOnly", "MountAPIVFS", "InaccessiblePaths", "TemporaryFileSystem",
	"RestrictAddressFamilies", "SystemCallFilter", "SystemCallErrorNumber",
}

// SocketProperties are the properties of a socket unit that matter here.
var SocketProperties = []string{"Id", "LoadState", "ActiveState", "Triggers", "Listen", "Accept", "FileDescriptorName"}

// Examine returns the findings, in the order of the checks.
func Examine(f Facts) []Finding {
	r := &report{Facts: f}
	for _, check := range checks {
		check(r)
	}
	return r.findings
}

var checks = []func(*report){
	checkLoaded, checkType, checkNotifyAccess, checkMainProcessSettings, checkReload, checkReloadTime, checkReloadSight,
	checkKill, checkStopTime, checkRestart, checkStore, checkWatchdog,
	checkDirectory, checkRoot, checkPrograms, checkFamilies, checkSystemCalls, checkMemory,
	checkSocketUnits, checkSocketNames,
	checkWrapper, checkCommand, checkAlien, checkEnvironment, checkPrivileges,
}

// report is the work of [Examine] while it lasts.
type report struct {
	Facts
	findings []Finding
}

func (r *report) add(s Severity, id, what, mend string) {
	r.findings = append(r.findings, Finding{id, s, what, mend})
}

// get is a property of the service, "" if this systemd doesn't know it.
func (r *report) get(name string) string { return r.Service.Get(name) }

func checkLoaded(r *report) {
	if r.Systemd != 0 && r.Systemd < 252 {
		r.add(Note, "systemd-old",
			fmt.Sprintf("systemd %d is older than 252, the oldest that upgrades were tested with.", r.Systemd),
			"Try an upgrade before you rely on it.")
	}
	if r.get("NeedDaemonReload") == "yes" {
		r.add(Warning, "daemon-reload",
			"The unit's files have changed since systemd read them, so what counts is not what they say.",
			"Run systemctl daemon-reload.")
	}
}
