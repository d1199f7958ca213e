package app

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync"
)

// Handler answers
//
//	POST /echo         the body
//	GET  /version      the version that the build has set
//	POST /heap?mib=N   after it has N MiB of live heap more
//	GET  /mallocs      how many objects the process has allocated so far
//
// each with its process in the header X-Pid.
func Handler() http.Handler {
	pid := []string{strconv.Itoa(os.Getpid())}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", echo)
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, version) })
	mux.HandleFunc("POST /heap", grow)
	mux.HandleFunc("GET /mallocs", mallocs)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["X-Pid"] = pid
		mux.ServeHTTP(w, r)
	})
}

var version = "dev" // -ldflags "-X …/app.version=2"

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Write(body)
}

var heap struct {
	sync.Mutex
	kept []*[8192]*byte // pointers, so that the collector has to look at all of it
}

func grow(w http.ResponseWriter, r *http.Request) {
	mib, err := strconv.Atoi(r.URL.Query().Get("mib"))
	if err != nil || mib < 0 || mib > 16<<10 {
		http.Error(w, "mib must be a number up to 16384", http.StatusBadRequest)
		return
	}
	heap.Lock()
	defer heap.Unlock()
	b := new(byte)
	for range mib << 4 {
		p := new([8192]*byte) // 64 KiB
		for i := 0; i < len(p); i += 512 {
			p[i] = b // a pointer a page, so that it is resident
		}
		heap.kept = append(heap.kept, p)
	}
	runtime.GC() // so that no cycle of the growth is under way when the time is taken
	fmt.Fprintln(w, len(heap.kept)>>4)
}

func mallocs(w http.ResponseWriter, _ *http.Request) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Fprintln(w, m.Mallocs)
}
