//go:build linux

package packaging

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestTheDebianPackageHasAllThatItShould(t *testing.T) {
	t.Parallel()
	deb := debianPackage(t)
	root := t.TempDir()
	output(t, exec.Command(proctest.RequireTool(t, "dpkg-deb"), "--extract", deb, root))
	for _, path := range []string{
		"usr/share/man/man1/handoff.1.gz",
		"usr/share/man/man1/handoff-run.1.gz",
		"usr/share/bash-completion/completions/handoff",
		"usr/share/zsh/vendor-completions/_handoff",
		"usr/share/fish/vendor_completions.d/handoff.fish",
		"usr/share/doc/handoff/copyright",
	} {
		info, err := os.Stat(filepath.Join(root, path))
		if err != nil {
			t.Error(err)
		} else if info.Mode() != 0o644 || info.Size() == 0 {
			t.Errorf("%s: mode %v, %d bytes", path, info.Mode(), info.Size())
		}
	}
	if info, err := os.Stat(filepath.Join(root, "usr/bin/handoff")); err != nil || info.Mode() != 0o755 {
		t.Errorf("usr/bin/handoff: %v, %v", info, err)
	}
	for line := range strings.Lines(output(t, exec.Command("dpkg-deb", "--contents", deb))) {
		if fields := strings.Fields(line); fields[1] != "root/root" || strings.ContainsAny(fields[0][4:], "w") {
			t.Errorf("others than root can write, or own: %s", line)
		}
	}
	if strings.Contains(output(t, exec.Command("dpkg-deb", "--field", deb)), "Depends:") {
		t.Error("a static binary depends on something")
	}
}

func TestTheDebianPackageIsInstalledAndRemoved(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		proctest.Missing(t, "dpkg --root wants root")
	}
	dpkg := proctest.RequireTool(t, "dpkg")
	deb := debianPackage(t)
	root := t.TempDir()
	for _, dir := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"status", "available"} {
		if err := os.WriteFile(filepath.Join(root, "var/lib/dpkg", file), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	output(t, exec.Command(dpkg, "--root="+root, "--log=/dev/null", "--install", deb))
	installed := filepath.Join(root, "usr/bin/handoff")
	if got := output(t, exec.Command(installed, "version")); !strings.HasPrefix(got, "handoff "+testVersion+" ") {
		t.Errorf("the installed command says %q", got)
	}
	output(t, exec.Command(dpkg, "--root="+root, "--log=/dev/null", "--purge", "handoff"))
	if _, err := os.Stat(installed); !os.IsNotExist(err) {
		t.Errorf("after the removal: %v", err)
	}
}

func TestTheManualPagesAndCompletionsAreRead(t *testing.T) {
	t.Parallel()
	dir := generated(t)
	pages, err := filepath.Glob(dir + "/man/*.1.gz")
	if err != nil || len(pages) < 5 {
		t.Fatalf("%v: %v", pages, err)
	}
	man := proctest.RequireTool(t, "man")
	for _, page := range pages {
		cmd := exec.Command(man, "--warnings", "--local-file", page)
		cmd.Env = append(os.Environ(), "MANWIDTH=100", "LC_ALL=C.UTF-8")
		var warnings strings.Builder
		cmd.Stderr = &warnings
		text, err := cmd.Output()
		if err != nil || warnings.Len() > 0 || !strings.Contains(string(text), "SYNOPSIS") {
			t.Errorf("%s: %v\n%s%s", page, err, warnings.String(), text)
		}
	}
	// The script asks the command of its shell's line.
	words := exec.Command("bash", "-c", `
		set -e
		PATH=$1:$PATH
		_get_comp_words_by_ref() { :; }
		source "$2"
		complete -p handoff >/dev/null
		COMP_WORDS=(handoff ins) COMP_CWORD=1 cur=ins prev=handoff words=(handoff ins) cword=1
		args=(); out=; directive=
		__handoff_get_completion_results
		echo "$out"`, "bash", commandDir(t), dir+"/completions/handoff")
	if got := output(t, words); !strings.Contains(got, "inspect") {
		t.Errorf("bash completes ins by %q", got)
	}
}

// commandDir has the command under its own name.
func commandDir(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(binary(t, "handoff"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(path, filepath.Join(dir, "handoff")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// debianPackage is made by the library that goreleaser makes it with, of the same settings.
func debianPackage(t *testing.T) string {
	t.Helper()
	proctest.RequireTool(t, "dpkg-deb")
	return proctest.Once(t, "the Debian package", func(path string) ([]byte, error) {
		return nil, makeDebianPackage(t, path)
	})
}

func makeDebianPackage(t *testing.T, path string) error {
	t.Helper()
	p := readConfig(t).NFPMs[0]
	out := generated(t)
	contents := files.Contents{{
		Source: binary(t, "handoff"), Destination: p.Bindir + "/handoff", FileInfo: &files.ContentFileInfo{Mode: 0o755},
	}}
	for _, c := range p.Contents {
		if rest, ok := strings.CutPrefix(c.Source, "packaging/out/"); ok {
			c.Source = filepath.Join(out, rest)
		} else {
			c.Source = filepath.Join(repository, c.Source)
		}
		contents = append(contents, c)
	}
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: p.PackageName, Arch: hostArch(t), Platform: "linux", Version: testVersion,
		Section: p.Section, Priority: p.Priority, Maintainer: p.Maintainer, Description: p.Description,
		Vendor: p.Vendor, Homepage: p.Homepage, License: p.License,
		MTime:        time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		Overridables: nfpm.Overridables{Umask: p.Umask, Contents: contents},
	})
	// Chooses what is for this kind of package.
	if err := nfpm.PrepareForPackager(info, "deb"); err != nil {
		return err
	}
	packager, err := nfpm.Get("deb")
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(packager.Package(info, f), f.Close())
}
