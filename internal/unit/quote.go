package unit

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/handoff-dev/handoff/internal/terminal"
)

// The rules are those of systemd.syntax(7), systemd.unit(5) "Specifiers", and
// systemd.service(5) "Command lines".

// argument writes one argument of a command.
func argument(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("the argument %q is not UTF-8, as all of a unit file has to be", s)
	}
	var b strings.Builder
	plain := s != ""
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
			plain = false
		case r == '%' || r == '$': // a specifier, a variable
			b.WriteRune(r)
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
			plain = false
		case r == '\t':
			b.WriteString(`\t`)
			plain = false
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
			plain = false
		case terminal.Acts(string(r)): // for whoever reads the file
			fmt.Fprintf(&b, `\U%08x`, r)
			plain = false
		default:
			b.WriteRune(r)
			plain = plain && (r < utf8.RuneSelf && isPlain(byte(r)) || r >= utf8.RuneSelf && unicode.IsPrint(r))
		}
	}
	if plain {
		return b.String(), nil
	}
	return `"` + b.String() + `"`, nil
}

// assignment writes one entry of Environment=, in which a dollar sign is one. That value
// takes raw is for the caller to see to.
func assignment(name, raw string) string {
	word := name + "=" + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%").Replace(raw)
	if strings.ContainsFunc(raw, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`\"'`, r) }) {
		return `"` + word + `"`
	}
	return word
}

// isPlain tells whether a character needs no quotes around it, neither for systemd
// nor for a reader.
func isPlain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_./:=,@+", c) >= 0
}

// program writes the path of a command's file. systemd takes variables in it
// literally, but not in the name that the program gets from it, and refuses quotes.
func program(path string) (string, error) {
	if strings.ContainsAny(path, "\"'\\$") || path != terminal.Line(path) {
		return "", fmt.Errorf("the path %q has a quote, a backslash, a dollar sign or a control character in it, which systemd doesn't take for a program", path)
	}
	return argument(path)
}

var errNotALine = errors.New("it must be one line of UTF-8 without control characters, bidirectional ones among them, and end with no backslash")

// value writes a setting that systemd takes as it is, but for specifiers.
func value(s string) (string, error) {
	if s != terminal.Line(s) || strings.HasSuffix(s, `\`) || strings.TrimSpace(s) != s {
		return "", errNotALine
	}
	return strings.ReplaceAll(s, "%", "%%"), nil
}
