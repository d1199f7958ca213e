package goaway

import (
	"net/http"
	"testing"
)

func TestTheNetHTTPOfThisGoDoesAllThatIsAssumedOfIt(t *testing.T) {
	t.Parallel()
	if seen := native(); seen != (Behaviour{Serves: true, Answers: true}) {
		t.Errorf("%+v", seen)
	}
}

func BenchmarkCheck(b *testing.B) {
	scratch := &http.Server{}
	_ = scratch.Serve(noConn{})
	serve := serveFunc(serveAny)
	if p := scratch.TLSNextProto[overPlain]; p != nil {
		serve = serveHidden(p)
	}
	for b.Loop() {
		if !check(serve).Answers {
			b.Fatal("no")
		}
	}
}
