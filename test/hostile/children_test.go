//go:build linux

package hostile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatTheServiceStartsSeesNothingOfTheHandover(t *testing.T) {
	t.Parallel()
	s := prepare(t, plain(t, "1"))
	probe := t.TempDir()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	cmd := s.command([]string{"/bin/sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=other exec "$@"`, "sh"},
		"-probe", probe, "-unix", filepath.Join(s.dir, "socket"))
	cmd.ExtraFiles = []*os.File{null}
	s.start(cmd)
	var seen []string
	for generation := 1; generation <= 3; generation++ {
		if generation > 1 {
			if got := s.upgrade().generation; got != generation {
				t.Fatalf("generation %d, want %d", got, generation)
			}
		}
		if _, err := s.get("/look/serving"); err != nil {
			t.Fatal(err)
		}
		seen = append(seen, fmt.Sprintf("%d-new", generation), fmt.Sprintf("%d-serving", generation))
	}
	s.stop()
	for _, name := range seen {
		text, err := os.ReadFile(filepath.Join(probe, name))
		if err != nil || !strings.Contains(string(text), "PATH=") {
			t.Errorf("%s: %q, %v", name, text, err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "LISTEN_") || strings.HasPrefix(line, "HANDOFF_LINK") || strings.HasPrefix(line, "HANDOFF_STAGE") || strings.HasPrefix(line, "descriptor ") {
				t.Errorf("generation and time %s: a started program sees %q", name, line)
			}
		}
	}
}
