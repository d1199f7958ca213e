package exec

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestTheManualPagesAreGenerated(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out, err := handoff(t, "man", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		if !strings.Contains(string(out), filepath.Join(dir, e.Name())+"\n") {
			t.Errorf("%s is not said to be written", e.Name())
		}
	}
	for _, want := range []string{"handoff.1", "handoff-exec.1", "handoff-inspect.1", "handoff-doctor.1", "handoff-unit.1"} {
		if !slices.Contains(names, want) {
			t.Errorf("there is no %s in %q", want, names)
		}
	}
	if slices.Contains(names, "handoff-man.1") || slices.Contains(names, "handoff-demo-server.1") {
		t.Errorf("a hidden command is in %q", names)
	}
	page, err := os.ReadFile(filepath.Join(dir, "handoff-exec.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{".TH HANDOFF\\-EXEC 1 ", "\n.B \\-l, \\-\\-listen=SPEC\n", "125 this command failed", "\n.SH SEE ALSO\nhandoff(1), "} {
		if !strings.Contains(string(page), want) {
			t.Errorf("there is no %q in\n%s", want, page)
		}
	}
	groff := proctest.RequireTool(t, "groff")
	for _, name := range names {
		out, err := exec.Command(groff, "-man", "-Tutf8", "-ww", "-z", filepath.Join(dir, name)).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("groff says of %s: %v, %s", name, err, out)
		}
	}
}

func TestTheShellsCompleteCommandsAndTypes(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if out, err := handoff(t, "completion", shell).Output(); err != nil || len(out) < 1000 {
			t.Errorf("%s: %v, %d bytes", shell, err, len(out))
		}
	}
	for line, want := range map[string]string{
		"in":               "inspect\tShow",
		"exec --in":        "--inetd\t",
		"exec -l ht":       "http::\nhttps::\n",
		"exec --listen un": "unix::\nunixgram::\n",
	} {
		out, err := handoff(t, append([]string{"__complete"}, strings.Fields(line)...)...).Output()
		if err != nil || !strings.HasPrefix(string(out), want) {
			t.Errorf("%q is completed by %q, %v, want %q", line, out, err, want)
		}
	}
}
