//go:build !small

package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestNumbersHaveACommaAfterEachThreeDigits(t *testing.T) {
	t.Parallel()
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 12345: "12,345", 1234567: "1,234,567"} {
		if got := number(n); got != want {
			t.Errorf("%d is written %q, want %q", n, got, want)
		}
	}
}

func TestADemoThatAnsweredNothingProvesNothing(t *testing.T) {
	t.Parallel()
	if err := (&report{}).verdict(); err == nil {
		t.Error("no request was answered, and the demo is content")
	}
}

// What takes longer is the server's end, with nobody connected.
func TestTheDemoUpgradesTwentyTimesInLessThanHalfAMinute(t *testing.T) {
	t.Parallel()
	var opt demoOptions
	newDemoFor(&opt)
	if err := opt.check(); err != nil {
		t.Fatal(err)
	}
	if all := time.Duration(opt.upgrades+1) * opt.interval(); opt.upgrades != 20 || all > 25*time.Second {
		t.Errorf("%d upgrades in %v", opt.upgrades, all)
	}
}

type deaf struct{}

func (deaf) Write([]byte) (int, error) { return 0, errors.New("nobody reads") }

func TestProgressThatNobodyReadsEndsTheDemo(t *testing.T) {
	t.Parallel()
	unheard := 0
	newProgress(deaf{}, func() { unheard++ }).line("serving")
	newProgress(new(strings.Builder), func() { t.Error("heard, and yet ended") }).line("serving")
	if unheard != 1 {
		t.Errorf("told %d times, want once", unheard)
	}
}
