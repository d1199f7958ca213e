package onshutdown

import (
	"context"
	"net/http"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unsafe"
)

// Take removes the program's functions from a server, so that its Shutdown doesn't run
// them, and returns them. Those of HTTP implementations, which end connections in their
// own way, stay. ok is false where the net/http of this Go is another than is known here;
// nothing is taken then.
func Take(srv *http.Server) (hooks []func(), ok bool) {
	if !known() {
		return nil, false
	}
	return take(srv, "mu", "onShutdown")
}

// known tells whether what is assumed of net/http holds.
var known = sync.OnceValue(func() bool { return holds("mu", "onShutdown") })

func holds(mutex, field string) bool {
	srv, ran := &http.Server{}, 0
	srv.RegisterOnShutdown(func() { ran++ })
	hooks, ok := take(srv, mutex, field)
	if !ok || len(hooks) != 1 {
		return false
	}
	hooks[0]()
	left, _ := take(srv, mutex, field)
	return ran == 1 && len(left) == 0 && srv.Shutdown(context.Background()) == nil
}

func take(srv *http.Server, mutex, field string) (hooks []func(), ok bool) {
	mu, ok := fieldOf[sync.Mutex](srv, mutex)
	if !ok {
		return nil, false
	}
	all, ok := fieldOf[[]func()](srv, field)
	if !ok {
		return nil, false
	}
	mu.Lock()
	defer mu.Unlock()
	var stay []func()
	for _, f := range *all {
		if isImplementations(f) {
			stay = append(stay, f)
		} else {
			hooks = append(hooks, f)
		}
	}
	*all = stay
	return hooks, true
}

// fieldOf returns a field of a server, if it is there and has the type.
func fieldOf[T any](srv *http.Server, name string) (field *T, ok bool) {
	v := reflect.ValueOf(srv).Elem().FieldByName(name)
	if !v.IsValid() || v.Type() != reflect.TypeFor[T]() {
		return nil, false
	}
	return (*T)(unsafe.Pointer(v.UnsafeAddr())), true
}

// implementations are packages that register functions of their own: they send GOAWAY to
// all at once, for which a drain has its own plan.
var implementations = []string{
	"net/http.",
	"net/http/internal",
	"golang.org/x/net/",
	"vendor/golang.org/x/net/",
	"github.com/quic-go/quic-go/",
	"github.com/handoff-dev/handoff/handoff/internal/goaway.",
}

func isImplementations(f func()) bool {
	if f == nil {
		return true
	}
	name := runtime.FuncForPC(reflect.ValueOf(f).Pointer()).Name()
	return slices.ContainsFunc(implementations, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}
