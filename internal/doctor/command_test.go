package doctor

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestACommandLineThatIsNotExecStartsIsSeen(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("no links without rights")
	}
	s := System{Root: root(t, map[string]string{
		"opt/v1/app": "ELF", "opt/v2/app": "ELF", "usr/bin/app": "ELF", "usr/bin/sh": "ELF", "usr/bin/env": "ELF", "usr/bin/handoff": "ELF",
		"opt/start": "#!/bin/sh\nexec /opt/v1/app\n",
	})}
	for link, to := range map[string]string{"opt/current": "v2", "bin": "usr/bin"} {
		if err := os.Symlink(to, filepath.Join(s.Root, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name, start, exe, argv, want string // argv is separated by |
	}{
		{"the same", shown("/opt/v1/app", "-v"), "/opt/v1/app", "/opt/v1/app|-v", ""},
		{"the same with a blank in an argument", shown("/opt/v1/app", "-m a b"), "/opt/v1/app", "/opt/v1/app|-m|a b", ""},
		{"the same without arguments", shown("/opt/v1/app", ""), "/opt/v1/app", "/opt/v1/app", ""},
		{"the same, quoted", shown("/opt/v1/app", `-m "a b"`), "/opt/v1/app", "/opt/v1/app|-m|a b", ""},
		{"a new path", shown("/opt/v2/app", "-v"), "/opt/v1/app", "/opt/v1/app|-v", `it runs "/opt/v1/app", and ExecStart= names "/opt/v2/app" by now`},
		{"a new path, the old file gone", shown("/opt/v2/app", "-v"), "/opt/v0/app", "/opt/v0/app|-v", `it runs "/opt/v0/app", and ExecStart= names "/opt/v2/app" by now`},
		{"another program", shown("/usr/bin/app", ""), "/opt/v1/server", "/opt/v1/server", `it runs "/opt/v1/server", and ExecStart= names "/usr/bin/app" by now`},
		{"new arguments", shown("/opt/v1/app", "-v --port 81"), "/opt/v1/app", "/opt/v1/app|-v", `it runs as "/opt/v1/app -v", and ExecStart= is "/opt/v1/app -v --port 81" by now`},
		{"fewer arguments", shown("/opt/v1/app", ""), "/opt/v1/app", "/opt/v1/app|-v", `it runs as "/opt/v1/app -v", and ExecStart= is "/opt/v1/app" by now`},
		{"a holder's program", shown("/usr/bin/handoff", "run -- /opt/v2/app"), "/usr/bin/handoff", "/usr/bin/handoff|run|--|/opt/v1/app", `it runs as "/usr/bin/handoff run -- /opt/v1/app", and ExecStart= is "/usr/bin/handoff run -- /opt/v2/app" by now`},
		{"arguments of a variable", shown("/opt/v1/app", "$OPTS"), "/opt/v1/app", "/opt/v1/app|-v", ""},
		{"a variable, and a new path", shown("/opt/v2/app", "$OPTS"), "/opt/v1/app", "/opt/v1/app|-v", `it runs "/opt/v1/app", and ExecStart= names "/opt/v2/app" by now`},
		{"a link", shown("/opt/current/app", ""), "/opt/v1/app", "/opt/current/app", ""},
		{"the same file by another path", shown("/bin/app", ""), "/usr/bin/app", "/usr/bin/app", ""},
		{"a script", shown("/opt/start", ""), "/usr/bin/sh", "/bin/sh|/opt/start", ""},
		{"a script that has become a program", shown("/opt/start", ""), "/opt/v1/app", "/opt/v1/app", ""},
		{"a shell that has", shown("/bin/sh", "-c exec /opt/v1/app"), "/opt/v1/app", "/opt/v1/app", ""},
		{"env", shown("/usr/bin/env", "app"), "/opt/v1/app", "/opt/v1/app", ""},
		{"a title of its own", shown("/opt/v2/app", ""), "/opt/v1/app", "app: master process", ""},
		{"another name", "{ path=/opt/v1/app ; argv[]=web -v ; ignore_errors=no ; x }", "/opt/v1/app", "web|-v", ""},
		{"not to be read", "{ x }", "/opt/v1/app", "/opt/v1/app", ""},
	} {
		if got := s.changed(parseCommand(test.start), strings.Split(test.argv, "|"), test.exe); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
