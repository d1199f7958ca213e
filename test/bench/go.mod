// The comparison with other ways to restart a server, in a module of its own so that
// the go.mod of the library names none of them.
module github.com/handoff-dev/handoff/test/bench

go 1.25.0

replace github.com/handoff-dev/handoff => ../..

require (
	github.com/cloudflare/tableflip v1.2.3
	github.com/facebookgo/grace v0.0.0-20180706040059-75cf19382434
	github.com/fvbock/endless v0.0.0-20170109170031-447134032cb6
	github.com/handoff-dev/handoff v0.0.0
	github.com/jpillora/overseer v1.1.6
	golang.org/x/sys v0.47.0
	gonum.org/v1/plot v0.17.0
)

require (
	codeberg.org/go-fonts/liberation v0.5.0 // indirect
	codeberg.org/go-latex/latex v0.2.0 // indirect
	codeberg.org/go-pdf/fpdf v0.11.1 // indirect
	git.sr.ht/~sbinet/gg v0.7.0 // indirect
	github.com/HdrHistogram/hdrhistogram-go v1.4.0 // indirect
	github.com/ajstarks/svgo v0.0.0-20211024235047-1546f124cd8b // indirect
	github.com/facebookgo/clock v0.0.0-20150410010913-600d898af40a // indirect
	github.com/facebookgo/httpdown v0.0.0-20180706035922-5979d39b15c2 // indirect
	github.com/facebookgo/stats v0.0.0-20151006221625-1b76add642e4 // indirect
	github.com/golang/freetype v0.0.0-20170609003504-e2365dfdc4a0 // indirect
	github.com/jpillora/s3 v1.1.4 // indirect
	golang.org/x/image v0.30.0 // indirect
	golang.org/x/net v0.58.0 // indirect
	golang.org/x/text v0.41.0 // indirect
)
