package flip

import (
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }
