package inspect

import (
	"os"
	"os/exec"
	"strconv"
	"testing"
)

func TestAGenerationThatHasWrittenItsOwnPidIsShownWithIt(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		sentence string
		env      []string
		meant    bool
	}{
		{"it was started directly", []string{"LISTEN_FDS=1", "HANDOFF_STAGE=5 3 /bin/cat"}, true},
		{"the variable of the parent's was inherited", []string{"LISTEN_FDS=1", "LISTEN_PID=1"}, false},
		{"there is none", []string{"LISTEN_FDS=1"}, false},
		{"no sockets were passed", []string{"HANDOFF_STAGE=4 2 /bin/cat"}, false},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := &exec.Cmd{Path: "/bin/cat", Args: []string{"cat"}, Env: tc.env, Stdin: r}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		r.Close()
		p, err := Read(cmd.Process.Pid)
		w.Close()
		if werr := cmd.Wait(); err != nil || werr != nil {
			t.Fatal(err, werr)
		}
		named := p.Environment["LISTEN_PID"] == strconv.Itoa(cmd.Process.Pid)
		if p.Meant != tc.meant || named != tc.meant {
			t.Errorf("%s: meant %v, %v", tc.sentence, p.Meant, p.Environment)
		}
	}
}
