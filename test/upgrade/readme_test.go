//go:build linux

package upgrade

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// around is what the programs of the README leave out.
const around = `package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"

	"github.com/handoff-dev/handoff/handoff"
)

var _ = slog.Default

func hello(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, os.Getpid()) }

`

func TestTheProgramsOfTheREADMEUpgradeAndSayWhyTheyCanNot(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, twenty, _ := strings.Cut(string(readme), "```go\n")
	twenty, _, _ = strings.Cut(twenty, "```\n")
	const one = `handoff.ListenAndServe(ctx, ":8080", handler)`
	if !strings.Contains(string(readme), "`"+one+"`") {
		t.Errorf("the README doesn't have %s any more", one)
	}
	for name, source := range map[string]string{
		"twenty lines": twenty,
		"one line": `func main() {
	ctx, handler := context.Background(), http.HandlerFunc(hello)
	if err := ` + one + `; err != nil {
		log.Fatal(err)
	}
}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startPage(t, source)
			first := p.whenOther(0)
			if first != p.Pid() {
				t.Errorf("process %d answers, not %d", first, p.Pid())
			}
			p.Signal(syscall.SIGHUP)
			if err := p.Wait(); err != nil {
				t.Errorf("after its upgrade the first process ended with %v", err)
			}
			second := proctest.Adopt(t, p.whenOther(first))

			if err := os.Remove(p.Cmd.Path); err != nil {
				t.Fatal(err)
			}
			second.Signal(syscall.SIGHUP)
			proctest.Until(t, "the cause in the log", func() error {
				if out := p.Output(); !strings.Contains(out, "upgrade failed") || !strings.Contains(out, p.Cmd.Path+": no such file or directory") {
					return fmt.Errorf("it says %q", out)
				}
				return nil
			})
			if pid, err := p.ask(); err != nil || pid != second.Pid() {
				t.Errorf("after a failed upgrade %d answers, %v, not %d", pid, err, second.Pid())
			}
			second.Stop(syscall.SIGTERM)
		})
	}
}

// page is a program of the README that runs.
type page struct {
	*proctest.Process
	t    *testing.T
	addr string
}

func startPage(t *testing.T, source string) *page {
	t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", proctest.FreePort(t))
	if strings.Count(source, `":8080"`) != 1 {
		t.Fatalf("which address is its own? %s", source)
	}
	dir := t.TempDir()
	file, path := filepath.Join(dir, "main.go"), filepath.Join(dir, "page")
	if err := os.WriteFile(file, []byte(around+strings.Replace(source, ":8080", addr, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-race", "-o", path, file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return &page{proctest.Start(t, proctest.Command(path)), t, addr}
}

// ask returns the process that answers on a new connection.
func (p *page) ask() (pid int, err error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + p.addr)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(body))
}

// whenOther waits until another process than old answers.
func (p *page) whenOther(old int) (pid int) {
	p.t.Helper()
	proctest.Until(p.t, "an answer of another process", func() (err error) {
		if pid, err = p.ask(); err == nil && pid == old {
			err = fmt.Errorf("%d answers", pid)
		}
		return err
	})
	return pid
}
