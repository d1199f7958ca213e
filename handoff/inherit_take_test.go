package handoff

import "testing"

func TestASetGivesOutInAnyOrderWhatWasPassed(t *testing.T) {
	t.Parallel()
	s := &Set{slots: make([]slot, 5)}
	for i := range s.slots {
		s.slots[i].entry.Index = i
	}
	for _, want := range []int{0, 3, 1, 4, 2} {
		in, ok := s.take(func(e Entry) bool { return e.Index == want })
		if !ok || in.Index != want {
			t.Fatalf("entry %d: got %v, %v", want, in, ok)
		}
		if _, again := s.take(func(e Entry) bool { return e.Index == want }); again {
			t.Errorf("entry %d was given out twice", want)
		}
	}
	if s.first > len(s.slots) {
		t.Errorf("first is %d", s.first)
	}
}
