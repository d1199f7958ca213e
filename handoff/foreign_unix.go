//go:build unix

package handoff

import "github.com/handoff-dev/handoff/handoff/internal/foreign"

// setOfFiles makes a Set of descriptors that another reader has taken over.
func setOfFiles(files []foreign.File) *Set {
	s := &Set{fds: ownFDs, slots: make([]slot, len(files))}
	for i, f := range files {
		s.slots[i] = slot{entry: Entry{Index: i, FD: f.FD, Name: f.Name}, unseen: true}
	}
	return s
}
