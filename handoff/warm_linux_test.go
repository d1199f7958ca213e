package handoff

import (
	"os"
	"regexp"
	"strconv"
	"testing"
)

func TestTheTableOfDescriptorsHasRoomForAnUpgrade(t *testing.T) {
	t.Parallel()
	const sockets = 5000
	makeRoom(sockets)
	status, err := os.ReadFile("/proc/self/status") // proc_pid_status(5)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^FDSize:\s*(\d+)$`).FindSubmatch(status)
	if m == nil {
		t.Fatalf("no FDSize in %s", status)
	}
	if size, _ := strconv.Atoi(string(m[1])); size < sockets {
		t.Errorf("the table has room for %d descriptors", size)
	}
}
