package systemctl

import (
	"context"
	"errors"
	"reflect"
	"testing"
)

func answer(text string, err error) Run {
	return func(context.Context, ...string) (string, error) { return text, err }
}

func TestTheVersionIsTheNumberAfterSystemd(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"systemd 252 (252.39-1~deb12u2)\n+PAM\n": 252,
		"systemd 257~rc1 (257~rc1)\n":            257,
		"systemd 262.1\n":                        262,
		"systemd v\n":                            0,
		"openrc 252\n":                           0,
		"":                                       0,
	} {
		if got, err := Version(context.Background(), answer(text, nil)); got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	if _, err := Version(context.Background(), answer("", ErrNotFound)); !errors.Is(err, ErrNotFound) {
		t.Errorf("the error is %v", err)
	}
}

func TestAPropertyMayHaveSeveralValuesAndLines(t *testing.T) {
	t.Parallel()
	out := "Type=notify\nExecReload={ argv[]=/bin/a x\nb=c\nUser=no ; }\nExecReload={ argv[]=/bin/b ; }\nPIDFile=\n"
	got, err := Show(context.Background(), answer(out, nil), "x.service", "Type", "ExecReload", "PIDFile", "PrivatePIDs")
	want := Properties{
		"Type":       {"notify"},
		"ExecReload": {"{ argv[]=/bin/a x\nb=c\nUser=no ; }", "{ argv[]=/bin/b ; }"},
		"PIDFile":    {""},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if got.Has("PrivatePIDs") || !got.Has("PIDFile") || got.Get("ExecReload") != "{ argv[]=/bin/b ; }" || got.Get("None") != "" {
		t.Errorf("Has or Get is wrong on %q", got)
	}
}
