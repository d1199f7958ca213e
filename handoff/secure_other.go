//go:build !linux

package handoff

import "github.com/handoff-dev/handoff/handoff/internal/stage"

// secureMode tells whether this program has rights that its caller lacks.
func secureMode() bool { return stage.Setuid() }
