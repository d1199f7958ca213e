//go:build !unix

package handoff

import (
	"os"

	"github.com/handoff-dev/handoff/handoff/internal/foreign"
)

func setOfFiles([]foreign.File) *Set { return &Set{} }

func waitSibling(*os.File) error { return nil }
