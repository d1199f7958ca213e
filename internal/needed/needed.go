// Package needed is for tests that need a program which is not part of this
// repository.
package needed

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// Tool returns the path of a program. Where it is missing the test is skipped, or
// fails when CI=true. For Python name /usr/bin/python3, which is the one that Debian's
// modules are installed for.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(t, "the program %s is not installed", name)
	}
	return path
}

// Success is for what Tool can't see, such as a library or a Python module: it runs a
// command, whose failure says that the thing called what is missing.
func Success(t testing.TB, what string, command ...string) {
	t.Helper()
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		Missing(t, "%s is not installed (%v: %v: %s)", what, command, err, out)
	}
}

// Missing skips the test with a sentence that says what the machine lacks. When
// CI=true it fails instead: there a skipped test would go unnoticed for ever.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	sentence := fmt.Sprintf(format, args...)
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s, and CI=true wants every test to run; test/debian-packages has the list", sentence)
	}
	// test/all repeats these lines at its end.
	if file := os.Getenv("HANDOFF_TEST_SKIPPED"); file != "" {
		if f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644); err == nil {
			fmt.Fprintf(f, "%s: %s\n", t.Name(), sentence)
			f.Close()
		}
	}
	t.Skip(sentence)
}
