//go:build linux

package packaging

import (
	"debug/elf"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestBinariesAreStaticAndKnowTheirVersion(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"handoff", "small"} {
		path := binary(t, id)
		f, err := elf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				t.Errorf("%s has a segment %v: it asks for a dynamic linker", id, p.Type)
			}
		}
		if f.Section(".symtab") != nil || f.Section(".debug_info") != nil || f.Section(".zdebug_info") != nil {
			t.Errorf("%s has symbols or debug information", id)
		}
		if got := output(t, exec.Command(path, "version")); !strings.HasPrefix(got, "handoff "+testVersion+" (") {
			t.Errorf("%s version: %q", id, got)
		}
	}
}

// The bound is on the layer of the image, as a registry keeps it and a machine pulls it.
// What lies unpacked on the machine's disk is told, and not bounded.
func TestTheImageIsPulledWithFiveMegabytes(t *testing.T) {
	t.Parallel()
	const most = 5_000_000
	path := binary(t, "small")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	packed := compressedSize(t, path)
	t.Logf("small: %d bytes, compressed %d", info.Size(), packed)
	if packed > most {
		t.Errorf("the binary of the image has %d bytes when compressed, want %d at most:\n"+
			"which command has come in that belongs into workshop.go?", packed, most)
	}
}

func TestTheImagesBinaryLacksOnlyWhatTriesThingsOut(t *testing.T) {
	t.Parallel()
	small, whole := commands(t, binary(t, "small")), commands(t, binary(t, "handoff"))
	for _, want := range []string{"run", "exec", "inspect", "doctor", "version"} {
		if !slices.Contains(small, want) {
			t.Errorf("the image's binary has no command %s, only %v", want, small)
		}
	}
	if slices.Contains(small, "demo") || !slices.Contains(whole, "demo") {
		t.Errorf("demo should be in the whole binary alone: %v; small: %v", whole, small)
	}
}

// commands are those that the help names.
func commands(t *testing.T, path string) (names []string) {
	t.Helper()
	_, list, _ := strings.Cut(output(t, exec.Command(path, "--help")), "Available Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	for line := range strings.Lines(list) {
		names = append(names, strings.Fields(line)[0])
	}
	return names
}

// compressedSize is what a layer of the file costs; 6 is the level of docker and of registries.
func compressedSize(t *testing.T, path string) int {
	t.Helper()
	return len(output(t, exec.Command("gzip", "-6", "--stdout", path)))
}
