package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/handoff-dev/handoff/internal/prove"
)

// proving runs handoff prove on a server that echoes, but for what break does.
func proving(t *testing.T, stdin io.Reader, breaks func(r *http.Request) bool, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if breaks != nil && breaks(r) {
			panic(http.ErrAbortHandler)
		}
		io.Copy(w, r.Body)
	}))
	t.Cleanup(srv.Close)
	var out, errs strings.Builder
	args = append([]string{"prove", "--url", srv.URL, "--window=100ms", "--pause=200ms", "--connections=2"}, args...)
	code = run(t.Context(), args, stdin, &out, &errs)
	return out.String(), errs.String(), code
}

func TestProveExitsByWhatItFound(t *testing.T) {
	t.Parallel()
	n := 0
	for _, test := range []struct {
		name, upgrade string
		breaks        func(*http.Request) bool
		code          int
		want          string
	}{
		{"proven", "true", nil, exitOK, "PROVEN: Of "},
		{"failed", "true", func(*http.Request) bool { n++; return n == 60 }, exitFailed, "FAILED: 1 of "},
		{"an upgrade that fails", "exit 7", nil, exitUnproven, "UPGRADE FAILED: No request failed, but upgrade 1: exit status 7."},
		{"nobody there", "true", func(*http.Request) bool { return true }, exitUnproven, "NOT MEASURED: Nothing was measured"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			out, errs, code := proving(t, strings.NewReader(""), test.breaks, "--count=1", "--shape=new-conn", "--connections=1", "--upgrade="+test.upgrade)
			if code != test.code || !strings.Contains(out, test.want) || strings.Contains(errs, "error") {
				t.Errorf("exit code %d, want %d and %q:\n%s%s", code, test.code, test.want, out, errs)
			}
		})
	}
}

func TestProveWritesItsReportInEveryForm(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	args := []string{"--count=1", "--upgrade=true", "--json", "--echo"}
	for _, ext := range []string{"html", "svg", "json", "xml"} {
		args = append(args, "--out", filepath.Join(dir, "report."+ext))
	}
	out, errs, code := proving(t, strings.NewReader(""), nil, args...)
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	var rep prove.Report
	if err := json.Unmarshal([]byte(out), &rep); err != nil || rep.Version != prove.Version || rep.Total.OK == 0 {
		t.Errorf("%v: %s", err, out)
	}
	for ext, begins := range map[string]string{"html": "<!DOCTYPE html>", "svg": "<svg ", "json": "{", "xml": "<?xml "} {
		text, err := os.ReadFile(filepath.Join(dir, "report."+ext))
		if err != nil || !strings.HasPrefix(string(text), begins) {
			t.Errorf("report.%s (%v): %.100s", ext, err, text)
		}
	}
}

func TestProveWithoutACommandTakesEachEnterForAnUpgrade(t *testing.T) {
	t.Parallel()
	out, errs, code := proving(t, strings.NewReader("\n\n"), nil, "--duration=1s", "--count=2")
	if code != exitOK || !strings.Contains(out, "in 2 upgrades none failed") || !strings.Contains(errs, "upgrade 2: told by hand") {
		t.Errorf("exit code %d:\n%s%s", code, out, errs)
	}
}

func TestProveSaysHowItWasCalledWrongly(t *testing.T) {
	t.Parallel()
	const url = "--url=http://127.0.0.1:1"
	for args, want := range map[string]string{
		"":                                       "--url is missing",
		"--url=ftp://a":                          `URL "ftp://a"`,
		url + " --rate=0":                        "--rate is 0",
		url + " --connections=0":                 "--connections is 0",
		url + " --count=-1":                      "--count is -1",
		url + " --upgrade=true --duration=1m":    "--duration is for watching",
		url + " --duration=25h":                  "--duration is 25h",
		url + " --out=a.pdf":                     "--out a.pdf",
		url + " --status=99":                     `--status "99"`,
		url + " --status=300-200":                `--status "300-200"`,
		url + " --header=nothing":                `--header "nothing"`,
		url + " --header=Host:a":                 "Host is set by the load itself",
		url + " --cacert=/no/such":               "--cacert",
		url + " --shape=fast":                    `there is no shape "fast"`,
		url + " --upgrade=true --pause=-1s":      "can't be negative",
		url + " --shape=think=here --upgrade=no": "has to begin with a slash",
	} {
		var stdout, stderr strings.Builder
		code := run(context.Background(), append([]string{"prove"}, strings.Fields(args)...), strings.NewReader(""), &stdout, &stderr)
		if code != exitUsage || !strings.Contains(stderr.String(), want) || stdout.String() != "" {
			t.Errorf("%s: exit code %d, %s, want %q", args, code, stderr.String(), want)
		}
	}
}

func TestStatusesAreReadAsRanges(t *testing.T) {
	t.Parallel()
	accept, err := parseStatus("200, 301-399")
	if err != nil {
		t.Fatal(err)
	}
	for status, want := range map[int]bool{199: false, 200: true, 201: false, 300: false, 301: true, 399: true, 400: false} {
		if accept(status) != want {
			t.Errorf("%d: %t", status, !want)
		}
	}
	h, err := parseHeaders([]string{"authorization:  Bearer a:b ", "X-A: 1", "x-a: 2"})
	if err != nil || fmt.Sprint(h) != "map[Authorization:[Bearer a:b] X-A:[1 2]]" {
		t.Errorf("%v, %v", h, err)
	}
}
