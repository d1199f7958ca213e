package givers

import (
	"os"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// serviceVariable makes the test binary the service that a giver starts.
const serviceVariable = "GIVERS_SERVICE"

func TestMain(m *testing.M) {
	if os.Getenv(serviceVariable) != "" {
		service()
		os.Exit(0)
	}
	proctest.Main(m)
}
