package handoff

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
)

// fakeProcess is a process with pid 100 and pidfd inode 7 that has nothing to
// do with this one.
type fakeProcess struct {
	env     map[string]string
	open    map[int]bool // the value: close-on-exec
	kinds   map[int]Kind
	noID    bool
	touched []int
	closed  []int
}

func (f *fakeProcess) process() process {
	return process{
		lookup: func(key string) (string, bool) { v, ok := f.env[key]; return v, ok },
		unset:  func(key string) error { delete(f.env, key); return nil },
		pid:    func() int { return 100 },
		pidfdID: func() (uint64, bool) {
			return 7, !f.noID
		},
		fds: fdTable{adopt: f.adopt, mark: f.mark, kindOf: f.kindOf, close: f.close},
	}
}

func (f *fakeProcess) adopt(fd int) error {
	f.touched = append(f.touched, fd)
	if cloexec, open := f.open[fd]; !open || cloexec {
		return fmt.Errorf("descriptor %d is bad", fd)
	}
	f.open[fd] = true
	return nil
}

func (f *fakeProcess) mark(fd int) {
	f.touched = append(f.touched, fd)
	if _, open := f.open[fd]; open {
		f.open[fd] = true
	}
}

func (f *fakeProcess) kindOf(fd int) (Kind, string, net.Addr, net.Addr) {
	return f.kinds[fd], "", nil, nil
}

func (f *fakeProcess) close(fd int) error {
	f.closed = append(f.closed, fd)
	return nil
}

func TestInheritFollowsTheProtocol(t *testing.T) {
	const pid, id, fds, names, first = envPID, envPIDFDID, envFDs, envNames, envFirst
	type env = map[string]string
	for sentence, tc := range map[string]struct {
		env   env
		opts  InheritOptions
		open  []int // without close-on-exec
		noID  bool
		want  string // the names, "-" for an empty Set
		wrong string // the variable that the error names
		says  string // what else the error says
	}{
		"no variable, nothing passed":                     {want: "-"},
		"one descriptor without a name is unknown":        {env: env{pid: "100", fds: "1"}, open: []int{3}, want: "unknown"},
		"names go with descriptors":                       {env: env{pid: "100", fds: "2", names: "a:b"}, open: []int{3, 4}, want: "a:b"},
		"names may repeat":                                {env: env{pid: "100", fds: "2", names: "a:a"}, open: []int{3, 4}, want: "a:a"},
		"an empty list of names is one empty name":        {env: env{pid: "100", fds: "1", names: ""}, open: []int{3}, want: ""},
		"a backslash in a name is only a backslash":       {env: env{pid: "100", fds: "2", names: `a\:b`}, open: []int{3, 4}, want: `a\:b`},
		"descriptors beyond the range are left":           {env: env{pid: "100", fds: "1"}, open: []int{3, 4}, want: "unknown"},
		"the first descriptor may be another":             {env: env{pid: "100", fds: "2", first: "9"}, open: []int{9, 10}, want: "unknown:unknown"},
		"another process is meant":                        {env: env{pid: "101", fds: "1"}, open: []int{3}, want: "-"},
		"another process's junk is no business of ours":   {env: env{pid: "101", fds: "x", names: ":", first: "x", id: "x"}, want: "-"},
		"unset pid means anybody":                         {env: env{fds: "1"}, open: []int{3}, want: "unknown"},
		"empty pid means anybody":                         {env: env{pid: "", fds: "1"}, open: []int{3}, want: "unknown"},
		"unset pid means nobody with RequirePID":          {env: env{fds: "1"}, opts: InheritOptions{RequirePID: true}, open: []int{3}, want: "-"},
		"empty pid is wrong with RequirePID":              {env: env{pid: "", fds: "1"}, opts: InheritOptions{RequirePID: true}, open: []int{3}, wrong: pid},
		"own pid is enough with RequirePID":               {env: env{pid: "100", fds: "1"}, opts: InheritOptions{RequirePID: true}, open: []int{3}, want: "unknown"},
		"a pid of words":                                  {env: env{pid: "self", fds: "1"}, open: []int{3}, wrong: pid, says: `"self"`},
		"pid 0":                                           {env: env{pid: "0", fds: "1"}, open: []int{3}, wrong: pid},
		"a negative pid":                                  {env: env{pid: "-100", fds: "1"}, open: []int{3}, wrong: pid},
		"a pid with a sign":                               {env: env{pid: "+100", fds: "1"}, open: []int{3}, wrong: pid},
		"a pid with a space":                              {env: env{pid: " 100", fds: "1"}, open: []int{3}, wrong: pid},
		"a pid too large for one":                         {env: env{pid: "4294967396", fds: "1"}, open: []int{3}, wrong: pid},
		"own pidfd":                                       {env: env{pid: "100", id: "7", fds: "1"}, open: []int{3}, want: "unknown"},
		"another process's pidfd":                         {env: env{pid: "100", id: "8", fds: "1"}, open: []int{3}, want: "-"},
		"another process's pidfd without a pid":           {env: env{id: "8", fds: "1"}, open: []int{3}, want: "-"},
		"a kernel that tells no pidfd":                    {env: env{pid: "100", id: "8", fds: "1"}, noID: true, open: []int{3}, want: "unknown"},
		"a pidfd of words":                                {env: env{pid: "100", id: "x", fds: "1"}, open: []int{3}, wrong: id},
		"an empty pidfd":                                  {env: env{pid: "100", id: "", fds: "1"}, open: []int{3}, wrong: id},
		"a pidfd of words where the kernel tells none":    {env: env{pid: "100", id: "x", fds: "1"}, noID: true, open: []int{3}, wrong: id},
		"own pid and no descriptors":                      {env: env{pid: "100"}, want: "-"},
		"junk in the pid and no descriptors":              {env: env{pid: "x"}, wrong: pid},
		"zero descriptors":                                {env: env{pid: "100", fds: "0"}, wrong: fds, says: "1 or more"},
		"descriptors by words":                            {env: env{pid: "100", fds: "two"}, wrong: fds, says: `"two"`},
		"an empty count":                                  {env: env{pid: "100", fds: ""}, wrong: fds},
		"a negative count":                                {env: env{pid: "100", fds: "-1"}, wrong: fds},
		"a count of 10^18":                                {env: env{pid: "100", fds: "1000000000000000000"}, open: []int{3}, wrong: fds, says: "can't be more than"},
		"a count of 10^30":                                {env: env{pid: "100", fds: "1" + strings.Repeat("0", 30)}, open: []int{3}, wrong: fds},
		"a count that overflows with the first":           {env: env{pid: "100", fds: "2147483647", first: "2147483647"}, wrong: fds},
		"a count of 2 billion":                            {env: env{pid: "100", fds: "2147483645"}, open: []int{3}, wrong: fds, says: "descriptor 4 is bad"},
		"a count of 2 billion with a name":                {env: env{pid: "100", fds: "2147483645", names: "a"}, open: []int{3}, wrong: names},
		"one bad descriptor fails all":                    {env: env{pid: "100", fds: "3"}, open: []int{3, 5}, wrong: fds, says: "descriptors 3 to 5 that it speaks of, descriptor 4 is bad"},
		"too few names":                                   {env: env{pid: "100", fds: "3", names: "a:b"}, open: []int{3, 4, 5}, wrong: names, says: "expected 3 names with colons between, as LISTEN_FDS=3, not 2"},
		"too many names":                                  {env: env{pid: "100", fds: "1", names: "a:"}, open: []int{3}, wrong: names},
		"no names for two":                                {env: env{pid: "100", fds: "2", names: ""}, open: []int{3, 4}, wrong: names},
		"standard output is never taken":                  {env: env{pid: "100", fds: "3", first: "1"}, open: []int{1, 2, 3}, wrong: first, says: "3 or more"},
		"a first descriptor of words":                     {env: env{pid: "100", fds: "1", first: "x"}, open: []int{3}, wrong: first},
		"a negative first descriptor":                     {env: env{pid: "100", fds: "1", first: "-3"}, open: []int{3}, wrong: first},
		"a first descriptor beyond an int":                {env: env{pid: "100", fds: "1", first: "2147483648"}, open: []int{3}, wrong: first},
		"a first descriptor and nothing passed":           {env: env{first: "x"}, want: "-"},
		"a long junk value is not repeated to the end":    {env: env{pid: "100", fds: "1", names: strings.Repeat(":", 9999)}, open: []int{3}, wrong: names, says: `::..."`},
		"a cloexec descriptor (10) was opened since exec": {env: env{pid: "100", fds: "1", first: "10"}, wrong: fds, says: "descriptor 10 is bad"},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			f := &fakeProcess{env: maps.Clone(tc.env), noID: tc.noID, open: map[int]bool{10: true}}
			if f.env == nil {
				f.env = env{}
			}
			f.env["PATH"] = "kept"
			for _, fd := range tc.open {
				f.open[fd] = false
			}
			s, err := f.process().inheritFDs(tc.opts)
			if len(f.env) != 1 {
				t.Errorf("still in the environment: %v", f.env)
			}
			if len(f.closed) > 0 {
				t.Errorf("closed %v", f.closed)
			}
			if len(f.touched) > 2*maxMarked {
				t.Errorf("touched %d descriptors", len(f.touched))
			}
			if slices.ContainsFunc(f.touched, func(fd int) bool { return fd < 3 }) {
				t.Errorf("touched a descriptor below 3: %v", f.touched)
			}
			if tc.wrong == "" {
				if err != nil {
					t.Fatal(err)
				}
				if got := namesOf(s); got != tc.want {
					t.Errorf("got names %q, want %q", got, tc.want)
				}
				return
			}
			var wrong *EnvError
			if !errors.As(err, &wrong) || wrong.Variable != tc.wrong || wrong.Value != tc.env[tc.wrong] {
				t.Fatalf("got error %v, want one about %s", err, tc.wrong)
			}
			if text := err.Error(); !strings.HasPrefix(text, "handoff: "+tc.wrong+"=") || !strings.Contains(text, tc.says) {
				t.Errorf("got error %q, want it to say %q", text, tc.says)
			}
			if s != nil {
				t.Error("a Set beside an error")
			}
			t.Log(err)
		})
	}
}

func namesOf(s *Set) string {
	if s.Len() == 0 {
		return "-"
	}
	var names []string
	for e := range s.All() {
		names = append(names, e.Name)
	}
	return strings.Join(names, ":")
}

func TestAFailedInheritLeavesNoDescriptorToChildren(t *testing.T) {
	for sentence, env := range map[string]map[string]string{
		"bad names":               {envFDs: "3", envNames: "a"},
		"a hole":                  {envFDs: "4"},
		"a bad pid":               {envFDs: "3", envPID: "x"},
		"a count that runs far":   {envFDs: "2000000000"},
		"a pidfd nobody can read": {envFDs: "3", envPIDFDID: "?"},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			f := &fakeProcess{env: env, open: map[int]bool{2: false, 3: false, 4: false, 5: false}}
			if sentence == "a hole" {
				delete(f.open, 4)
				f.open[6] = false
			}
			if _, err := f.process().inheritFDs(InheritOptions{}); err == nil {
				t.Fatal("no error")
			}
			for fd, cloexec := range f.open {
				if cloexec != (fd >= 3) {
					t.Errorf("descriptor %d: close-on-exec %v", fd, cloexec)
				}
			}
		})
	}
}

func TestASecondInheritFindsNothing(t *testing.T) {
	t.Parallel()
	f := &fakeProcess{env: map[string]string{envFDs: "1"}, open: map[int]bool{3: false}}
	for want := 1; want >= 0; want-- {
		s, err := f.process().inheritFDs(InheritOptions{})
		if err != nil || s.Len() != want {
			t.Fatalf("got %v, %v, want %d entries", s, err, want)
		}
	}
}

func TestAnEnvironmentThatCannotBeCleanedIsAnError(t *testing.T) {
	t.Parallel()
	f := &fakeProcess{env: map[string]string{envFDs: "1"}, open: map[int]bool{3: false}}
	p := f.process()
	stuck := errors.New("stuck")
	p.unset = func(string) error { return stuck }
	if _, err := p.inheritFDs(InheritOptions{}); !errors.Is(err, stuck) {
		t.Fatalf("got %v", err)
	}
}
