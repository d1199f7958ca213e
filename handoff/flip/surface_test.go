package flip

import (
	"reflect"
	"strings"
	"testing"

	"github.com/cloudflare/tableflip"
)

func TestAllOfTableflipsSurfaceIsHere(t *testing.T) {
	for _, pair := range [][2]reflect.Type{
		{reflect.TypeFor[*tableflip.Upgrader](), reflect.TypeFor[*Upgrader]()},
		{reflect.TypeFor[*tableflip.Fds](), reflect.TypeFor[*Fds]()},
		{reflect.TypeFor[tableflip.Listener](), reflect.TypeFor[Listener]()},
		{reflect.TypeFor[tableflip.PacketConn](), reflect.TypeFor[PacketConn]()},
		{reflect.TypeFor[tableflip.Conn](), reflect.TypeFor[Conn]()},
	} {
		for i := range pair[0].NumMethod() {
			theirs := pair[0].Method(i)
			ours, ok := pair[1].MethodByName(theirs.Name)
			if !ok {
				t.Errorf("%v has no %s", pair[1], theirs.Name)
				continue
			}
			want := strings.ReplaceAll(theirs.Type.String(), "tableflip.", "flip.")
			if got := ours.Type.String(); got != want {
				t.Errorf("%s is %s, not %s", theirs.Name, got, want)
			}
		}
	}
	theirs, ours := reflect.TypeFor[tableflip.Options](), reflect.TypeFor[Options]()
	for i := range theirs.NumField() {
		if f := theirs.Field(i); ours.NumField() <= i || ours.Field(i).Name != f.Name || ours.Field(i).Type != f.Type {
			t.Errorf("Options has no %s %v in its place", f.Name, f.Type)
		}
	}
	var _ error = ErrNotSupported
	if DefaultUpgradeTimeout != tableflip.DefaultUpgradeTimeout {
		t.Errorf("DefaultUpgradeTimeout is %v", DefaultUpgradeTimeout)
	}
}

func TestTheFormInWhichTableflipKeepsItsDescriptorsIsTheKnownOne(t *testing.T) {
	if _, err := inherited(new(tableflip.Fds)); err != nil {
		t.Error(err)
	}
}
