package prove

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/internal/prove"
	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func freeAddr(t *testing.T) string { return fmt.Sprintf("127.0.0.1:%d", proctest.FreePort(t)) }

func hup(pid any) string { return fmt.Sprintf("kill -HUP %v", pid) }

func hupFile(name string) string { return hup("$(cat " + name + ")") }

func TestAServerWithHandoffIsProvenOverEveryProtocol(t *testing.T) {
	t.Parallel()
	s := graceful.New(t, "")
	s.Install(graceful.BuildPlain(t, "1"))
	s.RunGroup(proctest.Command(s.Path, s.Flags()...))
	defer s.StopGroup()
	upgrade := "--upgrade=" + hupFile(s.PIDFile)
	proven(t, report(t, upgrade, "--expect-change=X-Pid", "--url=http://"+s.HTTP, "--shape=new-conn,keep-alive,think,slow-header,late-first-byte,slow-post=/echo"))
	rep := report(t, upgrade, "--count=2", "--expect-change=X-Pid", "--insecure", "--url=https://"+s.TLS)
	proven(t, rep)
	if len(rep.Shapes) != 4 || rep.Shapes[3].Name != "http2" || rep.Shapes[3].OK == 0 {
		t.Errorf("over TLS there was no HTTP/2: %+v", rep.Shapes)
	}
	proven(t, report(t, upgrade, "--count=2", "--echo", "--url=unix:"+s.Unix+":/echo"))
}

// A restart leaves a time in which nobody listens, and Shutdown closes idle
// connections with requests on their way.
func TestARestartOfAPlainServerIsFoundOut(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	p := proctest.Start(t, proctest.Command(proctest.Build(t, proctest.Program{Package: "./plain"}), "-http", addr))
	awaitListener(p, addr)
	rep := report(t, "--url=http://"+addr, "--upgrade="+hup(p.Pid()), "--expect-change=X-Pid")
	p.Stop(syscall.SIGTERM)
	tell(t, rep)
	if rep.Verdict != prove.Failed || lost(rep, "", load.Refused) == 0 || lost(rep, "slow-header", load.EOF, load.Reset) == 0 {
		t.Errorf("%s: %+v", rep.Verdict, rep.Total)
	}
	soonAfterAnUpgrade(t, rep)
	says(t, rep, "new-conn", "nobody listened")
	says(t, rep, "slow-header", "http.Server.Shutdown")
}

// Tableflip hands its sockets on, so nothing is refused; but what it leaves to
// Shutdown is lost.
func TestAServerWithTableflipAndShutdownIsFoundOut(t *testing.T) {
	t.Parallel()
	const dir = "../flip/tableflip"
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("%s isn't there", dir)
	}
	addr, pidFile := freeAddr(t), filepath.Join(t.TempDir(), "pid")
	p := proctest.Start(t, proctest.Command(proctest.Build(t, proctest.Program{Package: ".", Dir: dir}), "-http", addr, "-pid-file", pidFile))
	p.Until("it is ready", func() error {
		_, err := os.Stat(pidFile)
		return err
	})
	rep := report(t, "--url=http://"+addr+"/echo", "--echo", "--upgrade="+hupFile(pidFile), "--expect-change=X-Pid")
	stopByFile(t, pidFile, unix.SIGTERM)
	if rep.Verdict != prove.Failed || lost(rep, "", load.Refused) != 0 || lost(rep, "slow-header", load.EOF, load.Reset) == 0 {
		t.Errorf("%s: %+v", rep.Verdict, rep.Total)
	}
	soonAfterAnUpgrade(t, rep)
	says(t, rep, "slow-header", "http.Server.Shutdown")
}

func TestNginxIsProvenByReloadAndByNewBinary(t *testing.T) {
	t.Parallel()
	nginx := proctest.RequireTool(t, "nginx")
	dir, err := os.MkdirTemp("", "nginx-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	addr, pidFile := freeAddr(t), filepath.Join(dir, "pid")
	// Not in the foreground: a nginx that is its starter's child takes no SIGUSR2.
	conf := strings.NewReplacer("DIR", dir, "ADDR", addr).Replace(readFile(t, "testdata/nginx.conf"))
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	p := proctest.Start(t, proctest.Command(nginx, "-c", file, "-p", dir, "-e", filepath.Join(dir, "log")))
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	defer stopByFile(t, pidFile, unix.SIGQUIT)
	proctest.Until(t, "nginx is ready", func() error {
		_, err := os.Stat(pidFile)
		return err
	})
	for _, upgrade := range []string{hupFile(pidFile), "sh testdata/nginx-upgrade " + pidFile} {
		rep := report(t, "--url=http://"+addr, "--upgrade="+upgrade, "--expect-change=X-Pid")
		if len(rep.Upgrades) != 3 || rep.Upgrades[2].Error != "" {
			t.Errorf("%s: %+v", upgrade, rep.Upgrades)
		}
		// Its old workers close their idle connections at once, which a request
		// can cross on its way: seldom here, but not never.
		for _, f := range rep.Failures {
			if crossed := f.Kept && (f.Kind == load.EOF || f.Kind == load.Reset); !crossed || len(rep.Failures) > 2 {
				t.Errorf("%s: %s %+v", upgrade, f.Shape, f)
			}
		}
		soonAfterAnUpgrade(t, rep)
	}
}

func TestGunicornIsProvenByReload(t *testing.T) {
	t.Parallel()
	gunicorn := proctest.RequireTool(t, "gunicorn")
	addr := freeAddr(t)
	p := proctest.Start(t, proctest.Command(gunicorn, "--workers=4", "--bind="+addr, "--chdir=testdata", "gunicorn_app:app"))
	awaitListener(p, addr)
	proven(t, report(t, "--url=http://"+addr, "--upgrade="+hup(p.Pid()), "--expect-change=X-Pid"))
	p.Stop(syscall.SIGTERM)
}

// stopByFile ends the process that a PID file names, and waits until all that it
// has started are gone with it.
func stopByFile(t *testing.T, name string, sig unix.Signal) {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(readFile(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	proctest.Adopt(t, pid).Stop(sig)
}
