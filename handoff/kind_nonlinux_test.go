//go:build unix && !linux

package handoff

import (
	"errors"
	"os"
)

func memfdFile() (*os.File, error) { return nil, errors.ErrUnsupported }
