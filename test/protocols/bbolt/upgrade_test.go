//go:build linux

package bbolt

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

func TestADatabaseThatOneProcessMayHaveGoesFromGenerationToGeneration(t *testing.T) {
	s := graceful.New(t, "")
	s.Install(proctest.Build(t, proctest.Program{Package: "./server", Race: true}))
	file := filepath.Join(s.Dir, "db")
	s.Run(proctest.Command(s.Path, "-addr", s.HTTP, "-pid-file", s.PIDFile, "-db", file))
	var clients []load.Config
	for _, shape := range []load.Shape{load.NewConn(), load.KeepAlive(), load.Think(5 * time.Millisecond), load.SlowPost(20 * time.Millisecond)} {
		clients = append(clients, load.Config{Target: load.Target{Addr: s.HTTP}, Shape: shape, Workers: 4})
	}
	group, err := load.StartGroup(t.Context(), clients...)
	if err != nil {
		t.Fatal(err)
	}
	const upgrades = 10
	if _, err := group.AwaitFirstAnswer(proctest.Context(t), time.Time{}); err != nil {
		t.Fatal(err)
	}
	for range upgrades {
		sent := time.Now()
		group.Mark(sent, "upgrade")
		s.Reload()
		if _, err := group.AwaitFirstAnswer(proctest.Context(t), sent); err != nil {
			t.Fatal(err)
		}
	}
	result := group.Stop()
	s.Stop()
	graceful.NoLoss(t, result)
	if len(result.PIDs) != upgrades+1 {
		t.Errorf("%d processes have answered, not %d", len(result.PIDs), upgrades+1)
	}
	if got, want := counted(t, file), fmt.Sprint(result.Requests); got != want {
		t.Errorf("the database has counted %s requests, the clients %s", got, want)
	}
}

func counted(t *testing.T, file string) (n string) {
	t.Helper()
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		n = string(tx.Bucket([]byte("counters")).Get([]byte("requests")))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
