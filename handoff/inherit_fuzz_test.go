package handoff

import (
	"slices"
	"strings"
	"testing"
)

// FuzzInherit: whatever the variables say, nothing panics, no descriptor below 3
// or outside 3 to 40 is taken, each one taken is close-on-exec, the environment
// is clean, and there are as many names as descriptors.
func FuzzInherit(f *testing.F) {
	f.Add("100", "7", "2", "a:b", "3", uint8(0b11111), false)
	f.Add("", "", "1", "", "", uint8(0b11100), false)
	f.Add("x", "8", "1000000000000000000", ":::", "1", uint8(0b11111), false)
	f.Add("100", "7", "38", strings.Repeat(":", 37), "3", uint8(0b11111), true)
	f.Add("100", "7", "2147483647", "a", "2147483647", uint8(0b10101), true)
	f.Add("+100", "0x7", "1_0", "é:\x00", "-3", uint8(0b10111), false)
	f.Fuzz(func(t *testing.T, pid, id, fds, names, first string, set uint8, requirePID bool) {
		p := &fakeProcess{env: map[string]string{}, open: map[int]bool{}}
		for i, v := range []string{pid, id, fds, names, first} {
			if set&(1<<i) != 0 {
				p.env[envAll[i]] = v
			}
		}
		for fd := range 41 {
			p.open[fd] = false
		}
		// The order of the seeds is that of envAll.
		sys := p.process()
		had := p.env[envNames]
		_, named := p.env[envNames]
		s, err := sys.inheritFDs(InheritOptions{RequirePID: requirePID})
		if len(p.env) > 0 {
			t.Errorf("left in the environment: %v", p.env)
		}
		if slices.ContainsFunc(p.touched, func(fd int) bool { return fd < 3 }) {
			t.Errorf("touched %v", p.touched)
		}
		if len(p.touched) > 2*maxMarked {
			t.Errorf("touched %d", len(p.touched))
		}
		if err != nil {
			if s != nil || len(p.closed) > 0 || err.Error() == "" {
				t.Errorf("Set %v, closed %v beside error %v", s, p.closed, err)
			}
			return
		}
		var got []string
		for e := range s.All() {
			got = append(got, e.Name)
			if e.FD < 3 || e.FD > 40 || !p.open[e.FD] || e.Index != len(got)-1 {
				t.Errorf("took %v", e)
			}
		}
		if len(got) != s.Len() {
			t.Errorf("%d names for %d", len(got), s.Len())
		}
		if named && s.Len() > 0 && strings.Join(got, ":") != had {
			t.Errorf("names %q of %q", got, had)
		}
		if err := s.Close(); err != nil || len(p.closed) != s.Len() {
			t.Errorf("closed %v of %d, %v", p.closed, s.Len(), err)
		}
	})
}
