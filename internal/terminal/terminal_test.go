package terminal

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestWhatATerminalActsOnIsTakenOut(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain, with\na line and a\ttab":     "plain, with\na line and a\ttab",
		"Grüße, 世界 👩\u200d💻 \u200cنمی\u200c": "Grüße, 世界 👩\u200d💻 \u200cنمی\u200c",
		"a\x1b]0;title\x07b":                 "a?]0;title?b",
		"over\rwritten":                      "over?written",
		"csi \u009b2J of two bytes":          "csi ?2J of two bytes",
		"csi \x9b2J of one byte":             "csi \ufffd2J of one byte",
		"exe\u202etxt.\u2066\u2069\u061c":    "exe?txt.???",
		"\x7f\x00\u2028\ufeff\U000e0001":     "?????",
	} {
		if got := Text(in); got != want {
			t.Errorf("Text(%q) = %q, want %q", in, got, want)
		}
	}
	if got := Line("a\nb\tc\x1b"); got != "a b c?" {
		t.Errorf("Line gives %q", got)
	}
}

func FuzzJSONKeepsItsValueAndActsOnNothing(f *testing.F) {
	for _, s := range []string{"", "a\u009bb", "\u202e\U000e0041", "\x7f\x1b[31m", "<&>", "\u2028", "世\n\t"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, indent := range []bool{false, true} {
			var out bytes.Buffer
			if err := WriteJSON(&out, map[string][]string{s: {s}}, indent); err != nil {
				t.Fatal(err)
			}
			if Acts(out.String()) {
				t.Errorf("%q acts", out.String())
			}
			var back map[string][]string
			if err := json.Unmarshal(out.Bytes(), &back); err != nil {
				t.Fatalf("%q: %v", out.String(), err)
			}
			if want := strings.ToValidUTF8(s, "\ufffd"); utf8.ValidString(s) && (len(back[want]) != 1 || back[want][0] != want) {
				t.Errorf("%q has become %q", s, back)
			}
		}
	})
}

func FuzzAWriterWritesWhatTextIs(f *testing.F) {
	f.Add("a\u009b世\xff", 2)
	f.Add("\xe4\xb8", 1)
	f.Fuzz(func(t *testing.T, s string, at int) {
		at = min(max(at, 0), len(s))
		var out bytes.Buffer
		w := NewWriter(&out)
		for _, part := range []string{s[:at], s[at:]} {
			if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != Text(s) || Acts(got) {
			t.Errorf("%q was written as %q, want %q", s, got, Text(s))
		}
	})
}
