package supervise

import (
	"testing"

	"github.com/handoff-dev/handoff/handoff"
)

func TestAStatusNamesTheServicesGenerationAndNotTheCopys(t *testing.T) {
	t.Parallel()
	m := &manager{holder: &Holder{}}
	m.holder.generation = 7
	for said, want := range map[string]string{
		"":                      "Serving, generation 7",
		"Serving, generation 1": "Serving, generation 7",
		"Serving, generation 1; the successor has failed":    "Serving, generation 7; the successor has failed",
		"Serving, generation 12":                             "Serving, generation 12",
		"Serving, generation 2; generation 1 (pid 9) drains": "Serving, generation 2; generation 1 (pid 9) drains",
		"Processing requests of generation 1":                "Processing requests of generation 1",
		"Now: Serving, generation 1":                         "Now: Serving, generation 1",
	} {
		m.said = said
		if got := m.status(); got != handoff.Status(want) {
			t.Errorf("%q: %q, want %q", said, got, want)
		}
	}
}
