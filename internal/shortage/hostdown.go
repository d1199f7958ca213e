//go:build unix || windows

package shortage

import "syscall"

func init() { passing = append(passing, syscall.EHOSTDOWN) } // WASI has none
