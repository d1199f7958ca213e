package prove

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// looker asks a page, from within a browser, what it looks like, and writes the
// answer into the document, from where --dump-dom has it.
const looker = `<!DOCTYPE html><html><body><iframe id="f" style="border:0;width:%dpx;height:3000px" srcdoc="%s"></iframe>
<script>
f.onload = () => {
	const d = f.contentDocument, w = f.contentWindow, style = e => w.getComputedStyle(e);
	const shown = [...d.querySelectorAll('svg')].filter(e => e.getBoundingClientRect().width > 0);
	const out = document.createElement('pre');
	out.id = 'answer';
	out.textContent = JSON.stringify({
		width: d.documentElement.scrollWidth,
		back: style(d.body).backgroundColor,
		text: style(d.body).color,
		ink: shown.map(e => style(e.querySelector('text')).fill),
		smallest: Math.min(...shown.flatMap(e => [...e.querySelectorAll('text')]).map(e => parseFloat(style(e).fontSize) * e.getScreenCTM().a)),
		failed: shown.map(e => [...e.querySelectorAll('path')].filter(p => p.getAttribute('style').includes('--failed')).length),
		title: d.title,
	});
	document.body.append(out);
};
</script></body></html>`

type look struct {
	Width      int
	Back, Text string
	Ink        []string
	Smallest   float64
	Failed     []int
	Title      string
}

func TestThePageCanBeReadInABrowserLightAndDarkWideAndNarrow(t *testing.T) {
	t.Parallel()
	proctest.RequireLong(t)
	chromium := proctest.RequireTool(t, "chromium") // not in test/debian-packages: it is large
	addr := freeAddr(t)
	p := proctest.Start(t, proctest.Command(proctest.Build(t, proctest.Program{Package: "./plain"}), "-http", addr))
	awaitListener(p, addr)
	page := filepath.Join(t.TempDir(), "report.html")
	report(t, "--url=http://"+addr, "--upgrade="+hup(p.Pid()), "--out="+page)
	if err := p.Stop(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	text := readFile(t, page)
	backs := map[string]bool{}
	for _, width := range []int{1000, 380} {
		for _, scheme := range []string{"0", "1"} { // dark, light
			l := lookAt(t, chromium, text, width, scheme)
			t.Logf("%d pixels, scheme %s: %+v", width, scheme, l)
			backs[l.Back] = true
			if l.Width > width {
				t.Errorf("at %d pixels the page is %d wide", width, l.Width)
			}
			if l.Text == l.Back || len(l.Ink) != 2 || l.Ink[0] != l.Text || l.Smallest < 9.5 || l.Failed[0] < 2 || !strings.HasPrefix(l.Title, "failed") {
				t.Errorf("at %d pixels, scheme %s: %+v", width, scheme, l)
			}
		}
	}
	if len(backs) != 2 {
		t.Errorf("light and dark have the same background: %v", backs)
	}
}

func lookAt(t *testing.T, chromium, page string, width int, scheme string) (l look) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "look.html")
	if err := os.WriteFile(file, fmt.Appendf(nil, looker, width, html.EscapeString(page)), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(proctest.Context(t), chromium, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+dir,
		"--blink-settings=preferredColorScheme="+scheme, "--window-size=1200,1000", "--virtual-time-budget=5000", "--dump-dom", "file://"+file)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("chromium: %v: %s", err, errs.String())
	}
	answer := regexp.MustCompile(`(?s)<pre id="answer">(.*?)</pre>`).FindSubmatch(out)
	if answer == nil {
		t.Fatalf("no answer in %.2000s", out)
	}
	if err := json.Unmarshal([]byte(html.UnescapeString(string(answer[1]))), &l); err != nil {
		t.Fatal(err)
	}
	return l
}
