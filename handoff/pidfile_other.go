//go:build !unix

package handoff

import "os"

func openNoFollow(path string) (*os.File, error) { return os.Open(path) }
