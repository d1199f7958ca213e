package onshutdown

import (
	"context"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"testing"
)

func TestTheNetHTTPOfThisGoKeepsTheFunctionsWhereTheyAreKnownToBe(t *testing.T) {
	t.Parallel()
	if !known() {
		t.Errorf("RegisterOnShutdown of %s keeps its functions elsewhere: they run at the end of a drain", runtime.Version())
	}
}

func TestANetHTTPThatKeepsThemElsewhereIsFoundOut(t *testing.T) {
	t.Parallel()
	for _, names := range [][2]string{{"mu", "none"}, {"none", "onShutdown"}, {"mu", "Addr"}, {"onShutdown", "mu"}, {"Handler", "Handler"}} {
		if holds(names[0], names[1]) {
			t.Errorf("%q are taken for the mutex and the functions", names)
		}
	}
}

func TestWhatIsTakenIsTheProgramsAndShutdownRunsTheRest(t *testing.T) {
	t.Parallel()
	srv := &http.Server{}
	var order []int
	for n := range 3 {
		srv.RegisterOnShutdown(func() { order = append(order, n) })
	}
	_ = srv.Serve(none{}) // net/http adds its own
	hooks, ok := Take(srv)
	if !ok {
		t.Fatal("nothing is known of this net/http")
	}
	for _, f := range hooks {
		f()
	}
	if !slices.Equal(order, []int{0, 1, 2}) {
		t.Errorf("%v were taken", order)
	}
	if hooks, _ = Take(srv); len(hooks) != 0 {
		t.Errorf("%d are there still", len(hooks))
	}
	late := make(chan struct{})
	srv.RegisterOnShutdown(func() { close(late) })
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	<-late
	if len(order) != 3 {
		t.Errorf("Shutdown has run some again: %v", order)
	}
}

func TestFunctionsOfHTTPImplementationsStay(t *testing.T) {
	t.Parallel()
	srv := &http.Server{}
	srv.RegisterOnShutdown(func() {})
	_ = srv.Serve(none{})
	Take(srv)
	all, ok := fieldOf[[]func()](srv, "onShutdown")
	if !ok || len(*all) == 0 {
		t.Errorf("the one of HTTP/2 was taken: %v, %v", all, ok)
	}
}

func TestTakeBesideRegisterOnShutdownIsNoRace(t *testing.T) {
	t.Parallel()
	srv := &http.Server{}
	var both sync.WaitGroup
	both.Go(func() {
		for range 1000 {
			srv.RegisterOnShutdown(func() {})
		}
	})
	n := 0
	for range 100 {
		hooks, _ := Take(srv)
		n += len(hooks)
	}
	both.Wait()
	if hooks, _ := Take(srv); n+len(hooks) != 1000 {
		t.Errorf("%d were taken", n+len(hooks))
	}
}

type none struct{}

func (none) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (none) Close() error              { return nil }
func (none) Addr() net.Addr            { return &net.TCPAddr{} }
