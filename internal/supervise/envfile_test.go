package supervise

import (
	"slices"
	"strings"
	"testing"
)

func TestAnEnvironmentFileIsReadAsSystemdReadsIt(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"":                                nil,
		"A=1":                             {"A=1"},
		"A=1\nB=2\n":                      {"A=1", "B=2"},
		"# no\n; no\n\n  A = x y  \n":     {"A=x y"},
		"A=\nB=":                          {"A=", "B="},
		"A=a#b # c":                       {"A=a#b # c"},
		`A="x  y" `:                       {"A=x  y"},
		`A='a\nb"$c'`:                     {`A=a\nb"$c`},
		`A="a\"b\\c\$d` + "\\`" + `e\nf"`: {"A=a\"b\\c$d`e\\nf"},
		"A=\"one\ntwo\"\nB=1":             {"A=one\ntwo", "B=1"},
		"A='one\ntwo'":                    {"A=one\ntwo"},
		"A=one\\\ntwo\nB=2":               {"A=onetwo", "B=2"},
		`A=a\ b\\c`:                       {`A=a b\c`},
		`A=x"y z"w`:                       {"A=xy zw"},
		"A=' x '":                         {"A= x "},
		"A=1\r\nB=2\r\n":                  {"A=1", "B=2"},
		"_a1=ä€":                          {"_a1=ä€"},
		`URL=http://a/?b=c&d=e`:           {"URL=http://a/?b=c&d=e"},
	} {
		got, err := parseEnv(text)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestAMalformedEnvironmentFileIsAnErrorThatNamesTheLine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"A=1\nnonsense":       "line 2: \"nonsense\" has no equals sign",
		"export A=1":          "line 1: \"export A\": leave out the word export",
		"\n\n1A=1":            "line 3: \"1A\" is no variable's name",
		"=1":                  "line 1: \"\" is no variable's name",
		"A B=1":               "is no variable's name",
		"A=\"x\ny\n":          "line 1: value of A: a quote \" is not closed",
		"A='x\nB=1":           "a quote ' is not closed",
		"LISTEN_FDS=2":        "LISTEN_FDS is set by the holder itself",
		"NOTIFY_SOCKET=/x":    "NOTIFY_SOCKET is set by the holder itself",
		"A=a\x00b":            "NUL",
		"A='1\n2'\nB=3\nC":    "line 4",
		"A=1\\\n2\nB=3\n-":    "line 4",
		"# x\n; y\nno sense!": "line 3",
	} {
		if got, err := parseEnv(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %q and %v, want an error with %q", text, got, err, want)
		}
	}
}

func FuzzAnEnvironmentFileNeverGivesWhatIsNoVariable(f *testing.F) {
	f.Add("A=\"x\\\n'y'\"\nB='\n")
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := parseEnv(text)
		if err != nil {
			return
		}
		for _, e := range entries {
			key, value, ok := strings.Cut(e, "=")
			if !ok || !isKey(key) || strings.ContainsRune(value, 0) {
				t.Errorf("%q gives %q", text, e)
			}
		}
	})
}
