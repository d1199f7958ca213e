package flip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"

	"github.com/cloudflare/tableflip"
	"github.com/handoff-dev/handoff/handoff/internal/foreign"
)

// sentinel is the variable by which tableflip knows that it has a parent. It leaves it
// in the environment, where the next generation would believe in it.
const sentinel = "TABLEFLIP_HAS_PARENT_7DIU3"

// predecessor returns the tableflip server that has started this process, or nil.
func predecessor() (*foreign.Predecessor, error) {
	if os.Getenv(sentinel) == "" {
		return nil, nil
	}
	upg, err := tableflip.New(tableflip.Options{})
	os.Unsetenv(sentinel)
	if err != nil {
		return nil, fmt.Errorf("flip: reading what a tableflip server has passed: %w", err)
	}
	passed, err := inherited(upg.Fds)
	if err != nil {
		return nil, err
	}
	// The zero Fds has nothing, so nothing for Ready to close, and to unlink.
	upg.Fds = new(tableflip.Fds)
	p := &foreign.Predecessor{Ready: upg.Ready}
	for _, f := range passed {
		fd, err := dup(f.file)
		f.file.Close()
		if err != nil {
			return nil, fmt.Errorf("flip: taking over %q: %w", f.key, err)
		}
		p.Files = append(p.Files, foreign.File{FD: fd, Name: f.name(), Network: f.key[1], Address: f.key[2]})
	}
	ended := make(chan struct{})
	p.Ended = ended
	go func() {
		_ = upg.WaitForParent(context.Background())
		close(ended)
	}()
	return p, nil
}

// passed is one of tableflip's descriptors: its kind, network and address, or "fd" and
// its name.
type passed struct {
	key  [3]string
	file *os.File
}

// name is the name that a descriptor has in the Set.
func (p passed) name() string {
	if p.key[0] == "fd" {
		return FileName(p.key[1])
	}
	return joinName(p.key[0], p.key[1], p.key[2])
}

// inherited returns what tableflip has read from the parent, in a fixed order.
//
// tableflip gives a descriptor only to who knows its words, and it keeps its own
// duplicate for as long as it lives, so that a closed listener goes on to listen. So
// this reads its private map, whose form is checked, rather than to speak its
// protocol a second time.
func inherited(fds *tableflip.Fds) ([]passed, error) {
	m := reflect.ValueOf(fds).Elem().FieldByName("inherited")
	if !m.IsValid() || m.Type().String() != "map[tableflip.fileName]*tableflip.file" || m.Type().Key().Len() != 3 {
		return nil, errors.New("flip: this release of " + tableflipModule + " keeps its descriptors in a way that is unknown here; build with v1.2.3")
	}
	all := make([]passed, 0, m.Len())
	for entries := m.MapRange(); entries.Next(); {
		p := passed{}
		for i := range p.key {
			p.key[i] = entries.Key().Index(i).String()
		}
		f := entries.Value().Elem().FieldByName("File")
		if f.Type() != reflect.TypeFor[*os.File]() {
			return nil, errors.New("flip: this release of " + tableflipModule + " keeps its files in a way that is unknown here; build with v1.2.3")
		}
		p.file = (*os.File)(f.UnsafePointer())
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b passed) int {
		return cmp.Or(cmp.Compare(a.key[0], b.key[0]), cmp.Compare(a.key[1], b.key[1]), cmp.Compare(a.key[2], b.key[2]))
	})
	return all, nil
}
