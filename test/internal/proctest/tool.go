package proctest

import (
	"os"
	"testing"

	"github.com/handoff-dev/handoff/internal/needed"
)

// RequireTool is [needed.Tool].
func RequireTool(t testing.TB, name string) string { t.Helper(); return needed.Tool(t, name) }

// RequireSuccess is [needed.Success].
func RequireSuccess(t testing.TB, what string, command ...string) {
	t.Helper()
	needed.Success(t, what, command...)
}

// Missing is [needed.Missing].
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	needed.Missing(t, format, args...)
}

// Long reports whether tests that can go on for long are to do so.
func Long() bool { return os.Getenv("HANDOFF_TEST_LONG") == "1" }

// RequireLong skips a test that takes long, unless test/all runs with --long.
func RequireLong(t testing.TB) {
	t.Helper()
	if !Long() {
		t.Skip("takes long: test/all --long runs it, or HANDOFF_TEST_LONG=1")
	}
}
