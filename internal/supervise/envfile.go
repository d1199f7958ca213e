package supervise

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// reserved are the variables that only the holder can set rightly.
var reserved = []string{"LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_FDS_FIRST_FD",
	"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "MAINPID"}

// readEnvFile returns the KEY=VALUE entries of a file in the manner of systemd's
// EnvironmentFile=, systemd.exec(5). It differs in that what is malformed is an error,
// which names the line, and not skipped.
func readEnvFile(path string) ([]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("environment file: %w", err)
	}
	entries, err := parseEnv(string(data))
	if err != nil {
		return nil, fmt.Errorf("environment file %s: %w", path, err)
	}
	return entries, nil
}

// parseEnv reads entries, a line each. Empty lines and those that begin with # or ; are
// comments. White space around a key and around a value doesn't count. Within single
// quotes everything stands for itself; within double quotes a backslash takes its
// meaning from " \ $ and the backquote; outside of both from any character. Quotes may
// span lines, and a backslash at the end of a line, but for single quotes, joins it with
// the next.
func parseEnv(text string) (entries []string, err error) {
	p := envParser{text: strings.ReplaceAll(text, "\r\n", "\n"), line: 1}
	for p.skip(); p.at < len(p.text); p.skip() {
		line := p.line
		entry, err := p.entry()
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

type envParser struct {
	text string
	at   int
	line int
}

// skip passes white space and comments.
func (p *envParser) skip() {
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == '\n':
			p.line++
			p.at++
		case c == ' ' || c == '\t' || c == '\r':
			p.at++
		case c == '#' || c == ';':
			for p.at < len(p.text) && p.text[p.at] != '\n' {
				p.at++
			}
		default:
			return
		}
	}
}

func (p *envParser) entry() (string, error) {
	line, _, _ := strings.Cut(p.text[p.at:], "\n")
	key, _, found := strings.Cut(line, "=")
	p.at += len(key) + 1
	switch key = strings.TrimSpace(key); {
	case !found:
		return "", fmt.Errorf("%q has no equals sign: want KEY=VALUE", short(key))
	case strings.HasPrefix(key, "export "):
		return "", fmt.Errorf("%q: leave out the word export", short(key))
	case !isKey(key):
		return "", fmt.Errorf("%q is no variable's name: want letters, digits and _", short(key))
	case slices.Contains(reserved, key):
		return "", fmt.Errorf("%s is set by the holder itself", key)
	}
	value, err := p.value()
	if err != nil {
		return "", fmt.Errorf("value of %s: %w", key, err)
	}
	if strings.ContainsRune(value, 0) {
		return "", fmt.Errorf("value of %s: a NUL byte is in it", key)
	}
	return key + "=" + value, nil
}

// value reads up to the end of the line that is no part of it.
func (p *envParser) value() (string, error) {
	var out strings.Builder
	kept := 0 // what can't be trailing white space
	for p.at < len(p.text) {
		c := p.text[p.at]
		p.at++
		switch c {
		case '\n':
			p.line++
			return out.String()[:max(kept, len(strings.TrimRight(out.String(), " \t\r")))], nil
		case '\'', '"':
			if err := p.quoted(&out, c); err != nil {
				return "", err
			}
			kept = out.Len()
		case '\\':
			p.escaped(&out)
			kept = out.Len()
		case ' ', '\t':
			if out.Len() > 0 {
				out.WriteByte(c)
			}
		default:
			out.WriteByte(c)
		}
	}
	return out.String()[:max(kept, len(strings.TrimRight(out.String(), " \t\r")))], nil
}

// escaped takes what follows a backslash outside of quotes.
func (p *envParser) escaped(out *strings.Builder) {
	if p.at == len(p.text) {
		return
	}
	c := p.text[p.at]
	p.at++
	if c == '\n' {
		p.line++
		return
	}
	out.WriteByte(c)
}

func (p *envParser) quoted(out *strings.Builder, quote byte) error {
	for p.at < len(p.text) {
		c := p.text[p.at]
		p.at++
		switch {
		case c == quote:
			return nil
		case c == '\\' && quote == '"' && p.at < len(p.text):
			next := p.text[p.at]
			p.at++
			switch {
			case next == '\n':
				p.line++
			case strings.IndexByte("\"\\`$", next) >= 0:
				out.WriteByte(next)
			default:
				out.WriteByte(c)
				out.WriteByte(next)
			}
			continue
		case c == '\n':
			p.line++
		}
		out.WriteByte(c)
	}
	return fmt.Errorf("a quote %c is not closed", quote)
}

func isKey(key string) bool {
	for i, c := range []byte(key) {
		switch {
		case c == '_', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		case c >= '0' && c <= '9' && i > 0:
		default:
			return false
		}
	}
	return key != ""
}

// short is for an error, and a file may hold secrets, or be none of text.
func short(text string) string {
	const most = 20
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
