package givers

import (
	"bufio"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"strings"

	"github.com/handoff-dev/handoff/handoff"
)

// service inherits what it can and answers on all of it, once for each connection or
// datagram, with lines that tell what that was. It runs until it is ended, or until
// nothing is left to answer on.
func service() {
	set, err := handoff.Inherit(handoff.InheritOptions{})
	if err != nil {
		fmt.Println("error:", err)
		var bad *handoff.EnvError
		if errors.As(err, &bad) {
			fmt.Println("variable:", bad.Variable)
		}
		os.Exit(1)
	}
	var report strings.Builder
	fmt.Fprintf(&report, "pid: %d\n", os.Getpid())
	for e := range set.All() {
		fmt.Fprintf(&report, "inherited: %q %v\n", e.Name, e.Kind)
	}
	for _, entry := range os.Environ() {
		if strings.HasPrefix(entry, "LISTEN_") {
			fmt.Fprintln(&report, "left in the environment:", entry)
		}
	}
	report.WriteString(".\n")

	n, ended := 0, make(chan error)
	for e := range set.All() {
		n++
		go func() { ended <- answer(set, handoff.ByIndex(e.Index), report.String()) }()
	}
	for range n {
		if err := <-ended; err != nil {
			log.Fatal(err)
		}
	}
}

// answer takes what is at sel by whichever method fits.
func answer(set *handoff.Set, sel handoff.Selector, report string) error {
	if ln, err := set.Listener(sel); err == nil {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return err
			}
			if err := reply(conn, report); err != nil {
				return err
			}
		}
	}
	if conn, err := set.Conn(sel); err == nil {
		return reply(conn, report)
	}
	pc, err := set.PacketConn(sel)
	if err != nil {
		return err
	}
	for buf := make([]byte, 512); ; {
		_, peer, err := pc.ReadFrom(buf)
		if err != nil {
			return err
		}
		if _, err := pc.WriteTo([]byte(report), peer); err != nil {
			return err
		}
	}
}

// reply reads the question before it answers, lest the client see a reset.
func reply(conn net.Conn, report string) error {
	defer conn.Close()
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		return err
	}
	_, err := conn.Write([]byte(report))
	return err
}
