package proctest

import (
	"fmt"
	"os"
	"testing"

	"github.com/handoff-dev/handoff/internal/testenv"
)

// Main runs the tests of a package and ends the process: the body of a TestMain.
//
// On Linux the test process becomes the subreaper of everything below it: a
// successor whose predecessor has ended becomes the test's own child, so that it
// can be found, ended and reaped. A process that is still there after the last
// test is killed by its pid and fails the run.
//
// A descriptor that the caller of the tests has left open, which a shell does easily,
// is kept from all that they start.
//
// A mask for file modes that is not the usual one, and a SIGHUP that is ignored, are no
// matter of theirs either.
//
// A test binary that also plays the child checks for that before it calls Main.
func Main(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	if err := becomeSubreaper(); err != nil {
		fmt.Fprintln(os.Stderr, "proctest:", err)
		return 1
	}
	keepDescriptors()
	testenv.Settle()
	defer removeBuilds()
	code = m.Run()
	for _, p := range endChildren() {
		fmt.Fprintf(os.Stderr, "proctest: process %s outlived the tests and was killed\n", p)
		code = 1
	}
	return code
}
