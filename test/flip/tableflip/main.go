// Tableflip is a server as its users write them, after tableflip's own example: SIGHUP
// upgrades, SIGTERM stops. It knows nothing of handoff. The tests also build it
// with another import in tableflip's place.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/cloudflare/tableflip"
)

var (
	httpAddr = flag.String("http", "127.0.0.1:0", "serve HTTP on `address`")
	unixPath = flag.String("unix", "", "serve HTTP on the unix socket at `path`")
	udpAddr  = flag.String("udp", "", "echo datagrams on `address`")
	peer     = flag.String("peer", "", "keep a connection to `address`")
	memo     = flag.String("memo", "", "keep the file at `path` open")
	pidFile  = flag.String("pid-file", "", "`path` of the PID file")
	fail     = flag.String("fail", "", "exit or hang before Ready, as the `file` says, if it exists")
)

var address net.Addr // of the TCP listener

func main() {
	flag.Parse()
	log.SetPrefix(fmt.Sprintf("%d ", os.Getpid()))
	upg, err := tableflip.New(tableflip.Options{PIDFile: *pidFile, UpgradeTimeout: 20 * time.Second})
	if err != nil {
		log.Fatalln("New:", err)
	}
	defer upg.Stop()

	go func() {
		sig := make(chan os.Signal, 1)
		signal.Notify(sig, syscall.SIGHUP, syscall.SIGTERM)
		for s := range sig {
			if s == syscall.SIGTERM {
				upg.Stop()
				continue
			}
			if err := upg.Upgrade(); err != nil {
				log.Println("upgrade failed:", err)
			}
		}
	}()

	server := &http.Server{Handler: handler(upg.HasParent(), keptConn(upg), keptFile(upg))}
	serve := func(network, addr string, listen func(network, addr string) (net.Listener, error)) {
		ln, err := listen(network, addr)
		if err != nil {
			log.Fatalln("Listen:", err)
		}
		if network == "tcp" {
			address = ln.Addr()
		}
		go func() {
			if err := server.Serve(ln); err != http.ErrServerClosed {
				log.Fatalln("Serve:", err)
			}
		}()
	}
	serve("tcp", *httpAddr, upg.Listen)
	if *unixPath != "" {
		serve("unix", *unixPath, func(network, addr string) (net.Listener, error) { return listenAndAdd(upg, network, addr) })
	}
	if *udpAddr != "" {
		pc, err := upg.ListenPacket("udp", *udpAddr)
		if err != nil {
			log.Fatalln("ListenPacket:", err)
		}
		go echo(pc)
		defer pc.Close()
	}
	switch how, _ := os.ReadFile(*fail); string(how) {
	case "exit":
		log.Fatalln("told to fail before Ready")
	case "hang":
		log.Println("told to hang before Ready")
		select {}
	}
	if err := upg.Ready(); err != nil {
		log.Fatalln("Ready:", err)
	}
	<-upg.Exit()

	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		log.Println("Shutdown:", err)
	}
}

// listenAndAdd is the long way to say upg.Listen.
func listenAndAdd(upg *tableflip.Upgrader, network, addr string) (net.Listener, error) {
	ln, err := upg.Listener(network, addr)
	if ln != nil || err != nil {
		return ln, err
	}
	if ln, err = net.Listen(network, addr); err != nil {
		return nil, err
	}
	return ln, upg.AddListener(network, addr, ln.(tableflip.Listener))
}

// keptConn is the connection that the first of all processes has opened.
func keptConn(upg *tableflip.Upgrader) net.Conn {
	if *peer == "" {
		return nil
	}
	conn, err := upg.Conn("tcp", *peer)
	if err == nil && conn == nil && !upg.HasParent() {
		if conn, err = net.Dial("tcp", *peer); err == nil {
			err = upg.AddConn("tcp", *peer, conn.(tableflip.Conn))
		}
	}
	if err != nil || conn == nil {
		log.Fatalln("the connection:", conn, err)
	}
	return conn
}

func keptFile(upg *tableflip.Upgrader) *os.File {
	if *memo == "" {
		return nil
	}
	f, err := upg.File("memo: a file")
	if err == nil && f == nil && !upg.HasParent() {
		if f, err = os.OpenFile(*memo, os.O_RDWR|os.O_CREATE, 0o600); err == nil {
			err = upg.AddFile("memo: a file", f)
		}
	}
	if err != nil || f == nil {
		log.Fatalln("the file:", f, err)
	}
	return f
}

func handler(hasParent bool, conn net.Conn, file *os.File) http.Handler {
	pid := strconv.Itoa(os.Getpid())
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(w, r.Body); err != nil {
			log.Println("echo:", err)
		}
	})
	mux.HandleFunc("GET /address", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, address)
	})
	mux.HandleFunc("GET /kept", func(w http.ResponseWriter, r *http.Request) {
		_, cerr := fmt.Fprintln(conn, pid)
		_, ferr := fmt.Fprintln(file, pid)
		fmt.Fprintln(w, hasParent, cerr, ferr)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Pid", pid)
		mux.ServeHTTP(w, r)
	})
}

func echo(pc net.PacketConn) {
	buf := make([]byte, 2048)
	for {
		n, addr, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		if _, err := pc.WriteTo(fmt.Appendf(nil, "%s pid=%d", buf[:n], os.Getpid()), addr); err != nil {
			log.Println("echo:", err)
		}
	}
}
