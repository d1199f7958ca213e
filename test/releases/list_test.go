package releases

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// releases returns those of test/go-releases, oldest first.
func releases(t testing.TB) (all []string) {
	t.Helper()
	for line := range strings.Lines(read(t, "test/go-releases")) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	if len(all) < 2 {
		t.Fatalf("test/go-releases names %q: want the oldest and the newest at least", all)
	}
	return all
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var goDirective = regexp.MustCompile(`(?m)^go (\S+)$`)

func TestEveryModuleAsksForTheOldestRelease(t *testing.T) {
	oldest := releases(t)[0]
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.Name() != "go.mod" {
			return err
		}
		text, err := os.ReadFile(path)
		if m := goDirective.FindSubmatch(text); err == nil && (m == nil || string(m[1]) != oldest) {
			t.Errorf("%s asks for another Go than %s: %q", path, oldest, m)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestTheReadmeNamesEachRelease(t *testing.T) {
	text := read(t, "README.md")
	for _, r := range releases(t) {
		if minor := strings.Join(strings.SplitN(r, ".", 3)[:2], "."); !strings.Contains(text, "Go "+minor) {
			t.Errorf("README.md does not name Go %s", minor)
		}
	}
}

// The workflow makes its jobs of the file, so what can differ is that it does not.
func TestTheWorkflowReadsTheReleases(t *testing.T) {
	text := read(t, ".github/workflows/ci.yml")
	for _, want := range []string{"test/go-releases", "fromJSON(needs.releases.outputs.go)", "golang:${{ matrix.go }}-bookworm"} {
		if !strings.Contains(text, want) {
			t.Errorf(".github/workflows/ci.yml does not say %q", want)
		}
	}
	if m := regexp.MustCompile(`(?m)^\s*go: \[.*`).FindString(text); m != "" {
		t.Errorf("the workflow has a list of its own: %s", m)
	}
}
