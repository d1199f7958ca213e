module github.com/handoff-dev/handoff

go 1.25.0

require (
	github.com/HdrHistogram/hdrhistogram-go v1.4.0
	golang.org/x/net v0.54.0
	golang.org/x/sys v0.44.0
)

require golang.org/x/text v0.37.0 // indirect
