package prove

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/internal/needed"
)

// service echoes, and takes whatever else. Its identity is a counter's.
func service(t *testing.T) (url string, identity *atomic.Int64, lose *atomic.Bool) {
	identity, lose = new(atomic.Int64), new(atomic.Bool)
	identity.Store(1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Pid", fmt.Sprint(identity.Load()))
		switch {
		case lose.Load():
			panic(http.ErrAbortHandler)
		case r.URL.Path == "/no-post" && r.Method == http.MethodPost:
			http.Error(w, "no", http.StatusMethodNotAllowed)
		case r.URL.Path == "/upgrade":
			identity.Add(1)
		default:
			io.Copy(w, r.Body)
		}
	}))
	srv.Config.ErrorLog = nil
	t.Cleanup(srv.Close)
	return srv.URL, identity, lose
}

// quick are options of a proof that takes 3 seconds.
func quick(url string) Options {
	return Options{
		URL: url, Rate: 100, Connections: 2, Count: 2, Window: 100 * time.Millisecond,
		Pause: 300 * time.Millisecond, Upgrade: "true", UpgradeTimeout: 5 * time.Second,
	}
}

func proof(t *testing.T, o Options) *Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	rep, err := Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func TestUpgradesWithoutALossAreProof(t *testing.T) {
	t.Parallel()
	url, _, _ := service(t)
	o := quick(url + "/no-post")
	rep := proof(t, o)
	if rep.Verdict != Proven || rep.Total.Failed != 0 || len(rep.Upgrades) != 2 || rep.Upgrades[1].ExitCode != 0 || rep.Upgrades[1].Command <= 0 {
		t.Errorf("%s: %+v", rep.Verdict, rep)
	}
	if len(rep.Shapes) != 3 || len(rep.Notes) != 1 || !strings.Contains(rep.Notes[0], "slow-post was left out") {
		t.Errorf("shapes %+v, notes %q", rep.Shapes, rep.Notes)
	}
	if most := uint64(1.2*o.Rate*rep.Ended.Sub(rep.Began).Seconds()) + 10; rep.Total.Requests < 50 || rep.Total.Requests > most {
		t.Errorf("%d requests in %v at %v a second", rep.Total.Requests, rep.Ended.Sub(rep.Began), o.Rate)
	}
	if rep.Around.Requests == 0 || rep.Steady.Requests == 0 {
		t.Errorf("around %+v, steady %+v", rep.Around, rep.Steady)
	}
	o.Echo, o.URL = true, url+"/echo"
	if rep := proof(t, o); rep.Verdict != Proven || len(rep.Shapes) != 4 {
		t.Errorf("with echo: %s, %+v", rep.Verdict, rep.Shapes)
	}
}

func TestLostRequestsAreToldWithTheirUpgradeAndTheReason(t *testing.T) {
	t.Parallel()
	url, _, lose := service(t)
	o := quick(url)
	told := make(chan struct{})
	o.Upgrade, o.Manual, o.Duration = "", told, 20*time.Second
	o.Count, o.Shapes = 1, []string{"think", "new-conn"}
	go func() {
		told <- struct{}{} // taken when the load has been steady for a while
		lose.Store(true)
	}()
	rep := proof(t, o)
	if rep.Verdict != Failed || rep.Total.Failed == 0 || len(rep.Failures) == 0 || len(rep.Losses) == 0 {
		t.Fatalf("%s: %+v", rep.Verdict, rep.Total)
	}
	kept := false
	for _, f := range rep.Failures {
		if f.Upgrade != 1 || f.SinceUpgrade < 0 || f.SinceUpgrade > 5*time.Second || f.Kind != load.EOF || f.Stage != load.Sent || f.Why == "" {
			t.Errorf("%+v", f)
		}
		kept = kept || f.Kept
	}
	if !kept {
		t.Error("no request was lost on a kept connection")
	}
	var sum uint64
	for _, l := range rep.Losses {
		sum += l.Count
	}
	if sum != rep.Total.Failed || rep.Losses[0].First > rep.Losses[0].Last {
		t.Errorf("losses of %d: %+v", rep.Total.Failed, rep.Losses)
	}
	checkForms(t, rep)
}

func TestAnUpgradeThatFailsIsAFindingOfItsOwn(t *testing.T) {
	t.Parallel()
	url, _, _ := service(t)
	for name, test := range map[string]struct {
		set  func(o *Options)
		want string
	}{
		"exit status": {func(o *Options) { o.Upgrade = "echo no such unit >&2; exit 5" }, "exit status 5"},
		"timeout":     {func(o *Options) { o.Upgrade, o.UpgradeTimeout = "sleep 60 | sleep 61", 300*time.Millisecond }, "killed with its process group"},
		"no change":   {func(o *Options) { o.ExpectChange, o.UpgradeTimeout = "X-Pid", 300*time.Millisecond }, "no answer with a new X-Pid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := quick(url)
			test.set(&o)
			rep := proof(t, o)
			if rep.Verdict != UpgradeFailed || len(rep.Upgrades) != 1 || !strings.Contains(rep.Upgrades[0].Error, test.want) || !strings.Contains(rep.Summary, test.want) {
				t.Errorf("%s %q: %+v", rep.Verdict, rep.Summary, rep.Upgrades)
			}
			if name == "exit status" && (rep.Upgrades[0].ExitCode != 5 || rep.Upgrades[0].Output != "no such unit") {
				t.Errorf("%+v", rep.Upgrades[0])
			}
			checkForms(t, rep)
		})
	}
}

func TestAnExpectedChangeIsWaitedForAndTold(t *testing.T) {
	t.Parallel()
	url, _, _ := service(t)
	o := quick(url)
	o.ExpectChange = "X-Pid"
	o.Upgrade = "(sleep 0.2; curl -s " + url + "/upgrade) >/dev/null 2>&1 &"
	needed.Tool(t, "curl")
	rep := proof(t, o)
	if rep.Verdict != Proven || len(rep.Upgrades) != 2 {
		t.Fatalf("%s: %+v", rep.Summary, rep.Upgrades)
	}
	if u := rep.Upgrades[1]; u.Answer != "3" || u.FirstAnswer < 200*time.Millisecond || u.Took < u.FirstAnswer || u.Command > u.Took {
		t.Errorf("%+v", u)
	}
}

func TestAnUpgradeByHandIsNoticedByItsAnswer(t *testing.T) {
	t.Parallel()
	url, identity, _ := service(t)
	o := quick(url)
	o.Upgrade, o.Duration, o.ExpectChange, o.Count = "", 10*time.Second, "X-Pid", 1
	go func() {
		for t.Context().Err() == nil {
			sleep(t.Context(), 700*time.Millisecond)
			identity.Add(1)
		}
	}()
	rep := proof(t, o)
	if rep.Verdict != Proven || len(rep.Upgrades) != 1 || !rep.Upgrades[0].Noticed || rep.Upgrades[0].Answer < "2" {
		t.Errorf("%s: %+v", rep.Summary, rep.Upgrades)
	}
	o.Duration, o.ExpectChange = 300*time.Millisecond, ""
	if rep := proof(t, o); rep.Verdict != NoUpgrade {
		t.Errorf("%s: %s", rep.Verdict, rep.Summary)
	}
}

func TestAServiceThatIsNotThereIsNotMeasured(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	rep := proof(t, quick("http://"+ln.Addr().String()))
	if rep.Verdict != NotMeasured || !strings.Contains(rep.Summary, "refused") {
		t.Errorf("%s: %s", rep.Verdict, rep.Summary)
	}
	checkForms(t, rep)
	url, _, _ := service(t)
	o := quick(url + "/no-post")
	o.Shapes = []string{"new-conn", "slow-post"}
	if rep := proof(t, o); rep.Verdict != NotMeasured || !strings.Contains(rep.Summary, "slow-post") {
		t.Errorf("a shape that was asked for is missing: %s: %s", rep.Verdict, rep.Summary)
	}
}

func TestAnInterruptedProofHasItsReportSoFar(t *testing.T) {
	t.Parallel()
	url, _, _ := service(t)
	o := quick(url)
	o.Upgrade, o.UpgradeTimeout = "sleep 60", time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), 2300*time.Millisecond)
	defer cancel()
	began := time.Now()
	rep, err := Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if rep.Verdict != Interrupted || rep.Total.OK == 0 || rep.Total.Aborted != 0 || time.Since(began) > 20*time.Second {
		t.Errorf("%s: %+v", rep.Verdict, rep.Total)
	}
}

func TestWrongOptionsAreRefusedBeforeAnyRequest(t *testing.T) {
	t.Parallel()
	for _, set := range []func(o *Options){
		func(o *Options) { o.URL = "ftp://a.example" },
		func(o *Options) { o.URL = "ws://a.example"; o.Shapes = []string{"think"} },
		func(o *Options) { o.Shapes = []string{"no-such"} },
		func(o *Options) { o.Shapes = []string{"think=path"} },
		func(o *Options) { o.URL = "h2c://a.example"; o.Shapes = []string{"slow-header"} },
		func(o *Options) { o.Upgrade = "" },
		func(o *Options) { o.Rate = -1 },
	} {
		o := quick("http://127.0.0.1:1")
		set(&o)
		if rep, err := Run(t.Context(), o); !errors.Is(err, ErrOption) {
			t.Errorf("%+v: %v, %+v", o, err, rep)
		}
	}
}

// checkForms checks what every form of a report has to be.
func checkForms(t *testing.T, rep *Report) {
	t.Helper()
	var text, page, junit, js bytes.Buffer
	for _, err := range []error{rep.WriteText(&text), rep.WriteHTML(&page), rep.WriteJUnit(&junit), rep.WriteJSON(&js)} {
		if err != nil {
			t.Error(err)
		}
	}
	var back Report
	if err := json.Unmarshal(js.Bytes(), &back); err != nil || back.Version != Version || back.Verdict != rep.Verdict ||
		len(back.Failures) != len(rep.Failures) || back.Total.Failed != rep.Total.Failed {
		t.Errorf("as JSON (%v): %s", err, js.String())
	}
	var suite junitSuite
	if err := xml.Unmarshal(junit.Bytes(), &suite); err != nil || suite.Tests != len(suite.Cases) || suite.Tests != len(rep.Shapes)+1 ||
		(suite.Failures+suite.Errors > 0) != (rep.Verdict != Proven) {
		t.Errorf("as JUnit (%v): %s", err, junit.String())
	}
	if outside := regexp.MustCompile(`(?i)(src=|href=|url\(|@import|<script|<link)[^>]*`).FindString(page.String()); outside != "" {
		t.Errorf("the page asks for %s", outside)
	}
	for _, form := range []string{text.String(), page.String()} {
		if !strings.Contains(form, strings.SplitN(rep.Summary, "'", 2)[0][:20]) {
			t.Errorf("%q is not in %s", rep.Summary, form)
		}
		for _, l := range rep.Losses {
			if !strings.Contains(form, sentence(l.Why)) {
				t.Errorf("%q is not in %s", l.Why, form)
			}
		}
	}
}
