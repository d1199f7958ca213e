//go:build linux

package exec

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// What builds a program and starts it stands between the command and the program, for as long as a build
// takes. A client who comes meanwhile waits.
func TestAClientWaitsWhileTheServerIsBuilt(t *testing.T) {
	t.Parallel()
	for name, tool := range map[string]struct {
		source string   // in testdata
		flags  []string // of exec; nil: the tool calls the command, and not the other way round
		run    []string
		says   string
	}{
		"go run":    {"", []string{"--no-pid"}, []string{"go", "run", "github.com/handoff-dev/handoff/examples/graceful"}, "version=dev"},
		"cargo run": {"rust", []string{"--no-pid"}, []string{"cargo", "run", "--offline"}, "Rust"},
		// node has no descriptor below 16 passed on.
		"npm start": {"node", []string{"--no-pid", "--first-fd=20"}, []string{"npm", "start"}, "node"},
		// A script of package.json that calls the command.
		"npm run": {"node", nil, []string{"npm", "run", "held"}, "node"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proctest.RequireTool(t, tool.run[0])
			addr := address(t)
			args := append([]string{"exec", "-l", "http=" + addr}, append(append(tool.flags, "--"), tool.run...)...)
			cmd := handoff(t, args...)
			if tool.flags == nil {
				cmd = proctest.Command(tool.run[0], tool.run[1:]...)
				cmd.Env = append(cmd.Env, "ADDRESS="+addr, "PATH="+filepath.Dir(binary(t))+":"+os.Getenv("PATH"))
			}
			cache := t.TempDir()
			cmd.Env = append(cmd.Env, "CARGO_TARGET_DIR="+cache, "npm_config_cache="+cache, "npm_config_update_notifier=false")
			if tool.source != "" {
				cmd.Dir = t.TempDir()
				if err := os.CopyFS(cmd.Dir, os.DirFS(filepath.Join("testdata", tool.source))); err != nil {
					t.Fatal(err)
				}
			}
			p := proctest.Start(t, cmd)
			p.Until("the socket", func() error {
				if !strings.Contains(p.Output(), "listening on") {
					return errors.New(p.Output())
				}
				return nil
			})
			// There is no second try: it is in the queue, or the test fails.
			body, err := get(t, addr)
			if err != nil || !strings.Contains(body, tool.says) {
				t.Fatalf("the answer is %q, %v, want %q in it", body, err, tool.says)
			}
			var pid int
			if _, err := fmt.Sscanf(body, "pid=%d", &pid); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			p.Wait()
		})
	}
}

// get asks once, on a connection of its own.
func get(t *testing.T, addr string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(proctest.Context(t), http.MethodGet, "http://"+addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return string(body), err
}
