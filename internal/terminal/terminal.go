// Package terminal keeps text from outside from acting on a terminal: names of
// processes and paths, what a service says about itself, what another program wrote,
// errors that quote them.
//
// A terminal acts on control characters: on ESC and on U+009B, which begin sequences
// (ECMA-48), on a carriage return, by which a line covers another. Bidirectional
// controls (Unicode, UAX #9) have a line read otherwise than it is.
package terminal

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text returns s with a question mark in place of each character on which a terminal
// would act, or which nobody sees. Line breaks and tabs stay. What is not UTF-8 becomes
// U+FFFD.
func Text(s string) string {
	if isPlain(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if acts(r) {
			return '?'
		}
		return r
	}, s)
}

// Line is [Text] for what has to stay within its line: line breaks and tabs become
// spaces.
func Line(s string) string {
	s = Text(s)
	if !strings.ContainsAny(s, "\n\t") {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		return r
	}, s)
}

// isPlain tells whether s is printable ASCII and line breaks, as most text is.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c >= 0x7f || c < ' ' && c != '\n' && c != '\t' {
			return false
		}
	}
	return true
}

// acts tells whether a terminal acts on a character: on controls, on those of the
// category Cf that have no shape, such as bidirectional ones, and on separators of lines
// and paragraphs. The two joiners stay, for scripts and emoji need them.
func acts(r rune) bool {
	switch {
	case r == '\n' || r == '\t' || r == '\u200c' || r == '\u200d':
		return false
	case r < utf8.RuneSelf:
		return r < ' ' || r == 0x7f
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// Acts tells whether a terminal would act on a character of s, other than on line breaks
// and tabs, or s is not UTF-8.
func Acts(s string) bool {
	return !isPlain(s) && (!utf8.ValidString(s) || strings.ContainsFunc(s, acts))
}
