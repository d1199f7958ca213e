package handoff

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestOptionsThatCanNotBeRightAreErrorsThatNameThem(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"ReadyTimeout": {ReadyTimeout: -1},
		"DrainTimeout": {DrainTimeout: -time.Second},
		"MaxDraining":  {MaxDraining: -1},
	} {
		if u, err := New(o); err == nil || !strings.Contains(err.Error(), "Options."+name) {
			if u != nil {
				u.Close()
			}
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheZeroOptionsHaveTheDocumentedValues(t *testing.T) {
	t.Parallel()
	o, err := Options{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if o.ReadyTimeout != time.Minute || o.Probation != time.Second || o.DrainTimeout != 30*time.Second || o.MaxDraining != 64 ||
		len(o.UpgradeSignals) != 1 || o.UpgradeSignals[0] != syscall.SIGHUP ||
		len(o.StopSignals) != 2 || o.ListenConfig == nil || o.Logger == nil || o.PIDFile != "" {
		t.Errorf("%+v", o)
	}
	o, err = Options{Probation: -1, UpgradeSignals: []os.Signal{}, StopSignals: []os.Signal{}, PIDFile: "run/pid"}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if o.Probation != 0 || len(o.UpgradeSignals) != 0 || len(o.StopSignals) != 0 || o.PIDFile != filepath.Join(started.dir.Path, "run/pid") {
		t.Errorf("%+v", o)
	}
}
