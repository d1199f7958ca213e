package migrating

import (
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/handoff-dev/handoff/internal/needed"
)

const page = "../../docs/migrating.md"

// A program is a block of code of the page.
type program struct {
	section  string
	language string
	after    bool
	source   string
}

var fence = regexp.MustCompile("(?s)(Before|After)[^\n]*(?:\n[^`\n#][^\n]*)*\n\n```([a-z]+)\n(.*?)```\n")

// programs returns those of the page, by sections.
func programs(t *testing.T) (all []program) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, section := range strings.Split(string(text), "\n## ")[1:] {
		name, body, _ := strings.Cut(section, "\n")
		found := fence.FindAllStringSubmatch(body, -1)
		if n := strings.Count(body, "```"); n != 2*len(found) {
			t.Errorf("%s: %d fences, and %d blocks that come after Before or After", name, n, len(found))
		}
		before, after := 0, 0
		for _, m := range found {
			all = append(all, program{section: name, language: m[2], after: m[1] == "After", source: m[3]})
			if m[1] == "After" {
				after++
			} else {
				before++
			}
		}
		if before != 1 || after == 0 {
			t.Errorf("%s has %d programs before and %d after", name, before, after)
		}
	}
	return all
}

func TestEveryGoProgramOfThePageCompiles(t *testing.T) {
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	replace := map[string]string{}
	args := []string{"build", "-o", filepath.Join(dir, "bin") + string(filepath.Separator), "-overlay", filepath.Join(dir, "overlay.json")}
	for i, p := range programs(t) {
		if p.language != "go" {
			continue
		}
		name := fmt.Sprintf("program%d", i)
		file := filepath.Join(dir, name+".go")
		if err := os.WriteFile(file, []byte(p.source), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(here, name, "main.go")] = file
		args = append(args, "./"+name)
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if len(replace) < 12 {
		t.Errorf("only %d programs were found", len(replace))
	}
}

func TestAProgramAfterTheMoveNeedsHandoffAlone(t *testing.T) {
	for _, p := range programs(t) {
		if !p.after {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), "", p.source, parser.ImportsOnly)
		if err != nil {
			t.Errorf("%s: %v", p.section, err)
			continue
		}
		ours := false
		for _, spec := range f.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			switch first, _, _ := strings.Cut(path, "/"); {
			case strings.HasPrefix(path, "github.com/handoff-dev/handoff/"):
				ours = true
			case strings.Contains(first, "."):
				t.Errorf("%s: the program after the move imports %s", p.section, path)
			}
		}
		if !ours {
			t.Errorf("%s: a program after the move doesn't use handoff", p.section)
		}
	}
}

// registry makes cargo take crates from where Debian's packages put them.
const registry = `[source.crates-io]
replace-with = "debian"

[source.debian]
directory = "/usr/share/cargo/registry"

[net]
offline = true
`

func TestTheRustProgramCompiles(t *testing.T) {
	cargo := needed.Tool(t, "cargo")
	needed.Success(t, "librust-listenfd-dev", "sh", "-c", "ls -d /usr/share/cargo/registry/listenfd-1.*")
	for _, p := range programs(t) {
		if p.language != "rust" {
			continue
		}
		dir := t.TempDir()
		for name, text := range map[string]string{
			"src/main.rs":        p.source,
			"Cargo.toml":         "[package]\nname = \"before\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[dependencies]\nlistenfd = \"1\"\n",
			".cargo/config.toml": registry,
		} {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(cargo, "check", "--quiet", "--color=never")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	t.Error("there is no Rust program")
}
