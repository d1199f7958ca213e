package notify

import "testing"

func TestACommandsNameCantForgeItsParent(t *testing.T) {
	t.Parallel()
	for stat, want := range map[string]int{
		"7 (app) S 5 7 7 0 -1":            5,
		"7 (app) S 1 2) S 9 7 7 0 -1":     9,
		"7 (a (b) c) R 3 7":               3,
		"7 (two\nlines ) Z 1\n) Z 4 7 7 ": 4,
	} {
		if got, err := parseParent([]byte(stat)); err != nil || got != want {
			t.Errorf("%q: %d, %v", stat, got, err)
		}
	}
	for _, stat := range []string{"", "7 (app", "7 (app)", "7 (app) S", "7 (app) S x"} {
		if got, err := parseParent([]byte(stat)); err == nil {
			t.Errorf("%q: %d", stat, got)
		}
	}
}

func TestAnotherUsersMessageCountsOnlyIfRootSendsOrReceivesIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sender, self int
		want         bool
	}{{1000, 1000, true}, {0, 1000, true}, {1001, 1000, false}, {65534, 1000, false}, {1001, 0, true}, {0, 0, true}, {-1, 1000, false}} {
		if got := trustedUser(c.sender, c.self); got != c.want {
			t.Errorf("from %d to %d: %v", c.sender, c.self, got)
		}
	}
}
