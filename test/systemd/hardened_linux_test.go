package systemd

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/handoff-dev/handoff/internal/load"
)

// hardening are the settings of systemd.exec(5) that a careful unit has.
var hardening = map[string]string{
	"user":            "User=nobody",
	"dynamic user":    "DynamicUser=yes",
	"strict":          "ProtectSystem=strict\nProtectHome=yes",
	"private tmp":     "PrivateTmp=yes",
	"families":        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
	"no new code":     "MemoryDenyWriteExecute=yes",
	"system calls":    "SystemCallFilter=@system-service\nSystemCallErrorNumber=EPERM\nSystemCallArchitectures=native",
	"no privileges":   "NoNewPrivileges=yes\nRestrictSUIDSGID=yes",
	"own proc":        "ProtectProc=invisible\nProcSubset=pid",
	"no capabilities": "CapabilityBoundingSet=\nAmbientCapabilities=",
	"no namespaces":   "RestrictNamespaces=yes\nLockPersonality=yes\nRestrictRealtime=yes",
	"devices":         "PrivateDevices=yes\nProtectClock=yes\nProtectKernelTunables=yes\nProtectKernelModules=yes\nProtectControlGroups=yes",
}

func TestAHardenedServiceUpgradesUnderLoad(t *testing.T) {
	t.Parallel()
	units := maps.Clone(hardening)
	// DynamicUser= and User= together are a user by name; that is not the point here.
	without := maps.Clone(hardening)
	delete(without, "user")
	units["all of it"] = strings.Join(slices.Sorted(maps.Values(without)), "\n")
	units["all of it with sockets of its own"] = units["all of it"]
	for name, lines := range units {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args, sockets := []string{quick}, httpSocket(t)
			if strings.HasSuffix(name, "of its own") {
				sockets = nil
				lines += "\nRuntimeDirectory=graceful"
				args = append(args, "-unix=/run/graceful/sock")
			}
			s := install(t, sockets, setting("hardened", lines), flags(args...))
			if sockets != nil {
				s.startSockets(sockets)
			} else {
				s.Do("start", unit)
			}
			first := s.reached(1)
			g := s.load(t, load.NewConn(), load.KeepAlive())
			for generation := 2; generation <= 4; generation++ {
				s.upgrade(generation)
			}
			noLoss(t, g)
			s.alone(s.MainPID(unit))
			if log := s.Journal(unit); strings.Contains(log, "level=WARN") || strings.Contains(log, "level=ERROR") {
				t.Errorf("the journal has warnings")
			} else if strings.Contains(log, "not our child") {
				t.Errorf("a new generation is not systemd's own child")
			}
			s.crash()
			s.Wait(unit, "NRestarts", "1")
			if again := s.reached(1); again.pid == first.pid {
				t.Errorf("process %d serves again", again.pid)
			}
		})
	}
}
