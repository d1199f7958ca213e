module github.com/handoff-dev/handoff/test/migrating

go 1.25.0

replace github.com/handoff-dev/handoff => ../..

require (
	github.com/cloudflare/tableflip v1.2.3
	github.com/coreos/go-systemd/v22 v22.7.0
	github.com/facebookgo/grace v0.0.0-20180706040059-75cf19382434
	github.com/fvbock/endless v0.0.0-20170109170031-447134032cb6
	github.com/handoff-dev/handoff v0.0.0
	github.com/jpillora/overseer v1.1.6
)

require (
	github.com/facebookgo/clock v0.0.0-20150410010913-600d898af40a // indirect
	github.com/facebookgo/httpdown v0.0.0-20180706035922-5979d39b15c2 // indirect
	github.com/facebookgo/stats v0.0.0-20151006221625-1b76add642e4 // indirect
	github.com/jpillora/s3 v1.1.4 // indirect
	golang.org/x/sys v0.47.0 // indirect
)
