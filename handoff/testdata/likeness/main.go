// Likeness is of the same module as package handoff by its build information, and has
// nothing of it inside. It serves nothing, and is ready if LISTEN_PID names it.
package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

func main() {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		time.Sleep(time.Minute)
	}
	for _, key := range []string{"HANDOFF_STAGE", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		value, ok := os.LookupEnv(key)
		fmt.Printf("%s=%s %v\n", key, value, ok)
	}
	conn, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
	if err == nil {
		_, err = conn.Write([]byte("READY=1"))
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	time.Sleep(300 * time.Millisecond)
}
